import math

import pytest
import torch
from noise_latents import biased

from mental_averages.dma.interpolation import (
    InterpolationReport,
    LatentStatisticsReport,
    interpolate,
    interpolation_report,
    latent_statistics,
)


def test_reports_are_read_back():
    latents, rows = biased(3), torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    for adjustment, width in (("channel", math.inf), ("low_pass", 2.0)):
        way = {"method": "restored_variance", "mean_adjustment": adjustment, "low_pass_width": width}
        report = interpolation_report(latents, interpolate(latents, rows, **way), **way)
        assert InterpolationReport.from_json(report.to_json()) == report and "Infinity" not in report.to_json()
        assert report.effective_inputs == pytest.approx([1, 1 / (0.04 + 0.09 + 0.25)])
        assert (report.amplification[0] == pytest.approx(1)
                and report.output_norms[0] == pytest.approx(report.input_norms[0]))
    statistics = latent_statistics(biased(6))
    assert LatentStatisticsReport.from_json(statistics.to_json()) == statistics
    assert "6 latents of 4 x 16 x 16" in statistics.summary()


@pytest.mark.parametrize("kind", [InterpolationReport, LatentStatisticsReport])
def test_other_files_are_refused(kind):
    written = latent_statistics(biased(2)).to_json()
    for text, message in (("{", "not JSON"), ("[]", "is not a report"), ('{"format": "other"}', "is not a report")):
        with pytest.raises(ValueError, match=message):
            kind.from_json(text)
    if kind is LatentStatisticsReport:
        with pytest.raises(ValueError, match="format version 9"):
            kind.from_json(written.replace('"version": 1', '"version": 9'))
        with pytest.raises(ValueError, match="damaged"):
            kind.from_json(written.replace('"norms"', '"norm"'))
