import json

import pytest
import torch
from pictures import check_picture
from reports import RECONSTRUCTION, saved

from mental_averages.dma.figures import plot_reconstruction

LEVELS = json.loads(RECONSTRUCTION)["levels"]


@pytest.mark.parametrize("changes", [{}, dict(levels=LEVELS[:1]), dict(levels=LEVELS * 30), dict(sources=[0.0])])
def test_plot(changes):
    picture = plot_reconstruction(saved("reconstruction", **changes), width=512)
    check_picture(picture, 512)
    assert picture.std() > 0.05


@pytest.mark.parametrize("changes", [dict(levels=LEVELS[1:]), dict(distances=[0.3]), dict(sources=[0.1]),
                                     dict(levels=[{**LEVELS[0], "spread": 0.9}, LEVELS[1]])])
def test_other_reports_look_different(changes):
    assert not torch.equal(plot_reconstruction(saved("reconstruction")),
                           plot_reconstruction(saved("reconstruction", **changes)))


def test_nothing_to_plot():
    with pytest.raises(ValueError, match="no noise levels"):
        plot_reconstruction(saved("reconstruction", levels=[]))
