"""The report of memorisation, its table and its JSON form."""
import pytest
import torch
from reports import MEMORISATION, changed, saved

from mental_averages.dma.representation import MemorisationReport, memorisation_report

REFERENCES = torch.arange(1.0, 20.0)


def report(chosen="deviation", rate=0.05, **changes):
    scores = {"norm": torch.tensor([2.0, 30.0]), "deviation": torch.tensor([25.0, 3.0])}
    references = {"norm": REFERENCES, "deviation": REFERENCES}
    return memorisation_report({**scores, **changes}, references, chosen, false_positive_rate=rate,
                               settings={"draws": 1}, seconds=2.0)


def test_numbers_percentiles_and_flags():
    found = report()
    assert found.flagged == [True, False] and found.chosen.name == "deviation" and found.chosen.threshold == 19.0
    assert [each.name for each in found.scores] == ["deviation", "norm"]
    assert found.scores[1].flagged == [False, True] and found.scores[1].scores == [2.0, 30.0]
    assert found.chosen.percentiles == [100.0, pytest.approx(100 * 2.5 / 19)]
    assert found.settings == {"draws": 1, "score": "deviation", "false_positive_rate": 0.05} and found.seconds == 2.0
    assert MemorisationReport.from_json(found.to_json()) == found


def test_the_flag_goes_by_the_score_that_is_chosen():
    found = report("norm")
    assert found.flagged == [False, True] and [each.name for each in found.scores] == ["norm", "deviation"]


def test_table():
    lines = report().table().splitlines()
    assert lines[0] == "| picture | deviation | percentile | flag | percentile of norm |"
    assert lines[2] == "| 1 | 25 | 100.0 | flagged | 7.9 |" and lines[3] == "| 2 | 3 | 13.2 |  | 100.0 |"
    assert lines[-1].startswith("1 of 2 are above 19, as at most 5.0% of pictures are that are like the 19 references")


def test_one_that_is_as_the_references_is_flagged_at_the_rate_that_is_stated():
    """Of exchangeable scores each is the largest of 20 once in 20 times."""
    scores = torch.randn(2000, 20, generator=torch.Generator().manual_seed(1)).exp()
    flags = [memorisation_report({"norm": row[:1]}, {"norm": row[1:]}, "norm", false_positive_rate=0.05).flagged[0]
             for row in scores]
    assert abs(sum(flags) / 2000 - 0.05) < 4 * (0.05 * 0.95 / 2000) ** 0.5


@pytest.mark.parametrize("arguments, message", [
    (dict(chosen="spikiness"), "spikiness"), (dict(loudness=torch.ones(2)), "loudness"),
    (dict(spikiness=torch.ones(2)), "both need the same"), (dict(norm=torch.ones(3)), "not as many pictures"),
    (dict(deviation=torch.tensor([1.0, torch.nan])), "must be finite"), (dict(rate=0.01), "needs 99")])
def test_what_cannot_be_reported_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        report(**arguments)


def test_reports_of_the_first_release_are_read():
    assert MemorisationReport.from_json(MEMORISATION) == saved("memorisation")
    assert saved("memorisation").flagged == [False, True]


@pytest.mark.parametrize("text, message", [
    (changed(MEMORISATION, ["scores", 0], flagged=[True]), "deviation has not as many percentiles and flags"),
    (changed(MEMORISATION, ["scores", 1], references=[1.0]), "not as many of each kind"),
    (changed(MEMORISATION, scores=[]), "no scores"),
    (MEMORISATION.replace("8.5", "NaN"), "score of norm is not finite"),
    (changed(MEMORISATION, ["scores", 0], remove=["threshold"]), "lacks the field 'threshold'"),
    (changed(MEMORISATION, version=9), "format version 9")])
def test_damage_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        MemorisationReport.from_json(text)


@pytest.mark.parametrize("scores, said", [
    ([30.0, 31.0, 32.0], "All 3 pictures lie above every reference: all are known by heart, or the two sets differ"),
    ([-1.0, -2.0, -3.0], "All 3 pictures lie below every reference: the two sets differ in something else"),
    ([30.0, 31.0, 1.5], None), ([-1.0, -2.0, 1.5], None), ([30.0, 31.0], None), ([0.0, -2.0, -3.0], None)])
def test_sets_that_lie_apart_are_told_of(scores, said):
    """A flag compares with references, and cannot tell what the difference is."""
    references = torch.arange(19.0)
    table = memorisation_report({"norm": torch.tensor(scores)}, {"norm": references}, "norm",
                                false_positive_rate=0.05).table()
    assert said in table if said else "All" not in table
    # Three pictures that are like three references lie apart from them one time in ten.
    few = memorisation_report({"norm": torch.tensor(scores)}, {"norm": references[:3]}, "norm",
                              false_positive_rate=0.25).table()
    assert "All" not in few


def test_a_picture_is_not_its_own_reference():
    scores, own = torch.arange(20.0), torch.eye(20, dtype=torch.bool)
    report = memorisation_report({"norm": scores}, {"norm": scores}, "norm", false_positive_rate=0.05, own=own)
    assert report.flagged == [False] * 19 + [True] and report.chosen.percentiles[-1] == 100
    assert report.settings["among_references"] == list(range(1, 21))
    assert "among the references, too, and compared with the others alone" in report.table()
    assert "among_references" not in memorisation_report({"norm": scores}, {"norm": scores}, "norm",
                                                         false_positive_rate=0.05, own=own & False).settings
