import pytest
import torch
from reports import HALLUCINATION, changed

from mental_averages.dma.metrics import HallucinationReport, hallucination_report


def test_report():
    references = [float(value) for value in range(1, 20)]
    report = hallucination_report([2.0, 30.0], references, false_positive_rate=0.05, settings={"last_steps": 5})
    assert report.flagged == [False, True] and report.threshold == 19.0 and report.scores == [2.0, 30.0]
    assert report.percentiles == [pytest.approx(100 * 1.5 / 19), 100.0] and report.references == references
    assert report.settings == {"last_steps": 5, "false_positive_rate": 0.05}
    assert HallucinationReport.from_json(report.to_json()) == report


def test_too_few_references_are_refused():
    with pytest.raises(ValueError, match="needs 19"):
        hallucination_report([1.0], [1.0] * 5, false_positive_rate=0.05, settings={})


@pytest.mark.parametrize("text, message", [
    (changed(HALLUCINATION, flagged=[True]), "as many percentiles and flags as scores"),
    (changed(HALLUCINATION, scores=[-1.0, 2.0]), "negative or not finite"),
    (changed(HALLUCINATION, remove=["threshold"]), "lacks the field 'threshold'"),
    (changed(HALLUCINATION, version=9), "format version 9")])
def test_other_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        HallucinationReport.from_json(text)


def test_a_sample_is_not_its_own_reference():
    scores = [float(value) for value in range(20)]
    report = hallucination_report(scores, scores, false_positive_rate=0.05, settings={},
                                  own=torch.eye(20, dtype=torch.bool))
    assert report.flagged == [False] * 19 + [True] and report.settings["among_references"] == list(range(1, 21))
    assert len(report.cautions) == 1 and report.cautions[0].startswith("1, 2, 3")
