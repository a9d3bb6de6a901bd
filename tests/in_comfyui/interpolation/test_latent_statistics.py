"""LatentStatistics."""
import pytest
from mixtures import noise

from mental_averages.dma.interpolation import LatentStatisticsReport


def test_statistics(nodes):
    latents = noise(6)
    image, report, summary = nodes["LatentStatistics"].execute({"latents0": latents}).args
    assert image.ndim == 4 and image.shape[-1] == 3 and "6 latents of 4 x 8 x 8" in summary
    assert LatentStatisticsReport.from_json(report.to_json()) == report
    assert report.norms == pytest.approx((latents["samples"].flatten(1).norm(dim=1) / 16).tolist(), rel=1e-5)
