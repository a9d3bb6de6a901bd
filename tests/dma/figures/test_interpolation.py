import pytest
import torch
from pictures import check_picture
from reports import saved

from mental_averages.dma.figures import plot_interpolation

ONE_OUTPUT = dict(weights=[[0.5, 0.5]], effective_inputs=[2.0], amplification=[1.4], output_norms=[1.0],
                  output_means=[[0.15, -0.05]])
MANY_CHANNELS = dict(output_means=[[0.01 * channel for channel in range(16)]] * 3)


@pytest.mark.parametrize("changes", [{}, ONE_OUTPUT, MANY_CHANNELS])
def test_plot(changes):
    picture = plot_interpolation(saved("interpolation", **changes), width=640)
    check_picture(picture, 640)
    assert picture.min() < 0.5 < picture.max()


@pytest.mark.parametrize("changes", [
    ONE_OUTPUT, dict(weights=[[1.0, 0.0], [0.4, 0.6], [0.0, 1.0]]), dict(output_norms=[0.95, 0.7, 1.05]),
    dict(settings={"method": "fix", "mean_adjustment": "channel", "low_pass_width": None})])
def test_other_reports_look_different(changes):
    assert not torch.equal(plot_interpolation(saved("interpolation")),
                           plot_interpolation(saved("interpolation", **changes)))


def test_nothing_to_plot():
    with pytest.raises(ValueError, match="no outputs"):
        plot_interpolation(saved("interpolation", weights=[]))
