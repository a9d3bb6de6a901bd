import json

import pytest
import torch
from pictures import check_picture
from reports import LAYERS, saved

from mental_averages.dma.figures import plot_layers

ROWS = json.loads(LAYERS)["layers"]
WITHOUT_MATCHING = dict(layers=[{**ROWS[0], "dimension": [None, None]}, ROWS[1], ROWS[2]])
WITHOUT_MATCHING["layers"] = [{**row, "left": []} for row in WITHOUT_MATCHING["layers"]]


@pytest.mark.parametrize("changes", [{}, WITHOUT_MATCHING, dict(layers=ROWS[:1], runner_up=None)])
def test_plot(changes):
    picture = plot_layers(saved("layers", **changes), width=512)
    check_picture(picture, 512)
    assert picture.std() > 0.05


def test_more_layers_than_names_can_be_read():
    rows = [{**ROWS[1], "name": f"layer.{number}"} for number in range(70)]
    check_picture(plot_layers(saved("layers", layers=rows, chosen="layer.3"), width=512), 512)


@pytest.mark.parametrize("changes", [
    WITHOUT_MATCHING, dict(chosen="b.0"), dict(settings={"sigmas": [14.6, 3.5], "gradient_error": 0.01}),
    dict(layers=[{**ROWS[0], "score": 0.9}, *ROWS[1:]])])
def test_other_reports_look_different(changes):
    assert not torch.equal(plot_layers(saved("layers")), plot_layers(saved("layers", **changes)))


def test_nothing_to_plot():
    report = saved("layers")
    report.layers.clear()
    with pytest.raises(ValueError, match="no layers"):
        plot_layers(report)
