import json
import math

import pytest
from reports import ALIGNMENT, ALIGNMENT_1
from toys import LinearGaussian, sigmas

from mental_averages.dma.alignment import AlignedStep, AlignmentReport, AlignmentSettings, align


def report():
    step = AlignedStep(sigma=3.0, mean_error=0.1, residual_before=[0.5, 0.4], residual_after=[0.01, 0.02],
                       iterations=[5, 6], spread=0.3, norm=0.9)
    return AlignmentReport(settings={"count": 2}, initial_spread=1.0, steps=[step], seconds=2.5)


def test_report_round_trip():
    assert AlignmentReport.from_json(report().to_json()) == report()
    assert report().final_residual == pytest.approx(0.015)
    assert math.isnan(AlignmentReport({}, 1.0).final_residual)


def test_a_saved_file_is_read_and_written_back_the_same():
    found = AlignmentReport.from_json(ALIGNMENT)
    assert found.to_json() == json.dumps(json.loads(ALIGNMENT), indent=1)
    assert found.steps[1].forwards == [4, 1] and found.final_residual == pytest.approx(0.005)


def test_a_saved_file_of_version_1():
    found = AlignmentReport.from_json(ALIGNMENT_1)
    assert found.steps[0].residual_after == [0.01, 0.02] and found.steps[0].forwards == []
    assert json.loads(found.to_json())["version"] == 2 and AlignmentReport.from_json(found.to_json()) == found


@pytest.mark.parametrize("text, message", [
    ("nonsense", "not JSON"), ("[]", "not a report"), ("{}", "not a report"),
    (json.dumps({"format": "mental-averages/alignment-report", "version": 99}), "version 99"),
    (json.dumps({"format": "mental-averages/alignment-report", "version": 1}), "damaged"),
])
def test_foreign_reports_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        AlignmentReport.from_json(text)


def test_reports_of_version_1_are_still_read():
    report = align(LinearGaussian(), sigmas(), (2, 3, 3), AlignmentSettings(count=4, aligned_steps=2)).report
    data = json.loads(report.to_json())
    assert data["version"] == 2 and AlignmentReport.from_json(report.to_json()).steps == report.steps
    for step in data["steps"]:
        for field in ("mean_count", "forwards", "backwards"):
            del step[field]
    old = AlignmentReport.from_json(json.dumps({**data, "version": 1}))
    assert old.steps[0].mean_count == 0 and old.steps[0].residual_after == report.steps[0].residual_after
