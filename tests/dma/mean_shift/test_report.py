import json

import pytest
from reports import MEAN_SHIFT

from mental_averages.dma.mean_shift import AveragedLevel, MeanShiftReport


def test_reports_are_read_back():
    report = MeanShiftReport.from_json(MEAN_SHIFT)
    assert report.levels[0] == AveragedLevel(14.6, 32, 0.04, 0.3, None) and report.seconds == 2.5
    assert report.to_json() == json.dumps(json.loads(MEAN_SHIFT), indent=1)
    assert MeanShiftReport.from_json(report.to_json()) == report


@pytest.mark.parametrize("text, message", [
    ("{", "not JSON"), ("{}", "is not a report of an average by mean shift"),
    (MEAN_SHIFT.replace('"version": 1', '"version": 9'), "format version 9"),
    (MEAN_SHIFT.replace('"spread"', '"spred"'), "a damaged one")])
def test_other_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        MeanShiftReport.from_json(text)
