import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given, settings, strategies
from reports import INVERSION

from mental_averages.dma.inversion import InversionReport, InvertedStep, RoundTrip, round_trip_error

STEPS = [InvertedStep(0.5, [1e-3, 2e-3], [3, 4], [0.4, 0.5]), InvertedStep(3.0, [0.0, 4e-3], [1, 0], [0.9, 1.1])]
REPORT = InversionReport({"method": "fixed_point", "sigmas": [0.0, 0.5, 3.0]}, STEPS,
                         RoundTrip([0.1, 0.2], [20.0, 17.0], [0.01, 0.02]), 4.5, 1.25, ["cfg is 7"])


@pytest.mark.parametrize("report", [REPORT, dataclasses.replace(REPORT, round_trip=None)])
def test_reading_what_was_written(report):
    assert InversionReport.from_json(report.to_json()) == report


@pytest.mark.parametrize("text, message", [
    ("{", "not JSON"), ("[]", "not a report of an inversion"),
    ('{"format": "mental-averages/alignment-report"}', "not a report of an inversion"),
    (json.dumps({**json.loads(REPORT.to_json()), "version": 9}), "version 9"),
    (json.dumps({**json.loads(REPORT.to_json()), "steps": [{"sigma": 1}]}), "damaged"),
    (json.dumps({key: value for key, value in json.loads(REPORT.to_json()).items() if key != "round_trip"}),
     "damaged")])
def test_other_texts(text, message):
    with pytest.raises(ValueError, match=message):
        InversionReport.from_json(text)


@settings(max_examples=30, deadline=None)
@given(strategies.integers(0, 10_000), strategies.floats(0.01, 100.0), strategies.floats(1e-4, 0.5))
def test_error_of_the_round_trip(seed, scale, noise):
    generator = torch.Generator().manual_seed(seed)
    clean, difference = torch.randn(2, 2, 4, 3, 3, generator=generator, dtype=torch.float64)
    found = round_trip_error(scale * clean, scale * (clean + noise * difference))
    unit = round_trip_error(clean, clean + noise * difference)
    # A change of units changes the mean squared error alone.
    assert found.psnr == pytest.approx(unit.psnr) and found.relative == pytest.approx(unit.relative)
    assert found.mse == pytest.approx([scale**2 * value for value in unit.mse])
    assert unit.relative == pytest.approx([(noise * row.norm() / origin.norm()).item()
                                           for row, origin in zip(difference, clean)])


def test_identical_and_constant_latents():
    same = round_trip_error(torch.ones(1, 4, 2, 2), torch.ones(1, 4, 2, 2))
    assert same.mse == [0.0] and same.relative == [0.0] and math.isfinite(same.psnr[0])
    values = torch.rand(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert round_trip_error(values, values).psnr == [200.0]
    assert round_trip_error(values, values.flip(0, 1)).psnr[0] < 40.0


def test_a_saved_file_is_read_and_written_back_the_same():
    found = InversionReport.from_json(INVERSION)
    assert found == REPORT and found.to_json() == json.dumps(json.loads(INVERSION), indent=1)


def test_reports_of_version_1_are_still_read():
    content = json.loads(INVERSION)
    steps = [{key: value for key, value in step.items() if key != "code"} for step in content["steps"]]
    assert InversionReport.from_json(json.dumps({**content, "version": 1, "steps": steps})) == REPORT
    with pytest.raises(ValueError, match="lacks the field 'code'"):
        InversionReport.from_json(json.dumps({**content, "steps": steps}))
