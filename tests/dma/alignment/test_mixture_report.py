import dataclasses
import json

import pytest
from reports import MIXTURE, changed
from two_modes import LEVEL, LEVELS, MIXTURE as TWO, SETTINGS, SHAPE, TwoModes

from mental_averages.dma.alignment import MixtureReport, align_mixture


def test_a_saved_file_is_read_and_written_back_the_same():
    found = MixtureReport.from_json(MIXTURE)
    assert found.to_json() == json.dumps(json.loads(MIXTURE), indent=1)
    assert found.modes[0].steps[0].iterations == [5, 6] and found.modes[1].steps == []


def test_averages_are_told_by_the_mode_they_are_nearest_to():
    found = MixtureReport.from_json(MIXTURE)
    assert [record.nearest for record in found.modes] == [0, 1] and found.in_own_mode == 2
    assert dataclasses.replace(found, modes=found.modes[::-1]).in_own_mode == 0


@pytest.mark.parametrize("text, message", [
    ("{", "not JSON"), ('{"format": "mental-averages/alignment-report"}', "not a report of the averages of modes"),
    ('{"format": "mental-averages/mode-alignment-report", "version": 1, "modes": [{"count": 1}]}', "damaged"),
    (changed(MIXTURE, version=2), "version 2"), (changed(MIXTURE, ("modes", 0, "steps", 0), remove=["sigma"]),
                                                 r"damaged.*modes\[0\]\.steps\[0\] lacks the field 'sigma'")])
def test_other_texts_are_no_report(text, message):
    with pytest.raises(ValueError, match=message):
        MixtureReport.from_json(text)


def test_report_says_where_the_averages_are():
    found = align_mixture(TwoModes(), LEVELS, SHAPE, SETTINGS, TWO, LEVEL)
    report = found.report
    assert report.in_own_mode == 2 and [record.nearest for record in report.modes] == [0, 1]
    assert [record.count for record in report.modes] == [len(members) for members in found.clusters.members]
    assert all(len(record.steps) == 2 and record.steps[0].sigma == pytest.approx(LEVELS[LEVEL].item())
               for record in report.modes)
    assert MixtureReport.from_json(report.to_json()) == report
    swapped = dataclasses.replace(report, modes=report.modes[::-1])
    assert swapped.in_own_mode == 0
