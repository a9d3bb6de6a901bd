import json

import pytest
from reports import SAMENESS

from mental_averages.dma.metrics import PromptSameness, SamenessReport


def test_reports_are_read_back():
    report = SamenessReport.from_json(SAMENESS)
    assert report.prompts[0] == PromptSameness("a cat", 0.81, 0.78, 0.84) and report.seconds == 9.5
    assert report.to_json() == json.dumps(json.loads(SAMENESS), indent=1)
    assert SamenessReport.from_json(report.to_json()) == report


@pytest.mark.parametrize("text, message", [
    ("{", "not JSON"), ("{}", "is not a report of the sameness of samples"),
    (SAMENESS.replace('"version": 1', '"version": 9'), "format version 9"),
    (SAMENESS.replace('"low"', '"least"'), "a damaged one"),
    (SAMENESS.replace('"high": 0.84', '"high": 0.80'), "'a cat' is outside its interval")])
def test_other_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        SamenessReport.from_json(text)
