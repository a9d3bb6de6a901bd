import json

import pytest
import torch
from pictures import check_picture
from reports import SPARSITY, saved

from mental_averages.dma.figures import plot_sparsity

ROWS = json.loads(SPARSITY)["blocks"]


@pytest.mark.parametrize("changes", [{}, dict(blocks=ROWS[:1]), dict(blocks=ROWS[2:])])
def test_plot(changes):
    picture = plot_sparsity(saved("sparsity", **changes), width=512)
    check_picture(picture, 512)
    assert picture.std() > 0.05


def test_more_blocks_than_names_can_be_read():
    rows = [{**ROWS[1], "name": f"block.{number}"} for number in range(70)]
    check_picture(plot_sparsity(saved("sparsity", blocks=rows), width=512), 512)


@pytest.mark.parametrize("changes", [dict(blocks=ROWS[1:]), dict(settings={"sigmas": [3.5, 1.0]}),
                                     dict(blocks=[{**ROWS[0], "specialised": [0.9, 0.1]}, *ROWS[1:]])])
def test_other_reports_look_different(changes):
    assert not torch.equal(plot_sparsity(saved("sparsity")), plot_sparsity(saved("sparsity", **changes)))


def test_nothing_to_plot():
    report = saved("sparsity")
    report.blocks.clear()
    with pytest.raises(ValueError, match="no blocks"):
        plot_sparsity(report)
