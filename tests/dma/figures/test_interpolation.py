import math

import pytest
import torch
from noise_latents import biased

from mental_averages.dma import figures
from mental_averages.dma.interpolation import interpolate, interpolation_report, latent_statistics


@pytest.mark.parametrize("adjustment, width", [("channel", math.inf), ("low_pass", 2.0)])
def test_an_interpolation_is_plotted(adjustment, width):
    latents, rows = biased(3), torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    way = {"method": "restored_variance", "mean_adjustment": adjustment, "low_pass_width": width}
    report = interpolation_report(latents, interpolate(latents, rows, **way), **way)
    picture = figures.plot_interpolation(report, 640)
    assert picture.shape[0] == 1 and picture.shape[2:] == (640, 3) and 0 <= picture.min() < 0.5 < picture.max() <= 1


def test_latent_statistics_are_plotted():
    assert figures.plot_latent_statistics(latent_statistics(biased(6)), 640).shape[2] == 640
    assert figures.plot_latent_statistics(latent_statistics(biased(1)), 512).shape[2] == 512
