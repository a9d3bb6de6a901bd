import json
import math

import pytest
from reports import RECONSTRUCTION

from mental_averages.dma.representation import ReconstructedLevel, ReconstructionReport


def test_reports_are_read_back():
    report = ReconstructionReport.from_json(RECONSTRUCTION)
    assert report.levels[1] == ReconstructedLevel(0.5, [0.25, 0.04], [0.0025, 0.0], [7, 3], [8, 4], [7, 3], 0.75)
    assert (report.distances, report.sources, report.seconds) == ([0.1, 0.2], [0.4, 0.5, 0.6], 2.5)
    assert report.to_json() == json.dumps(json.loads(RECONSTRUCTION), indent=1)


def test_the_table_holds_root_means_and_distances_no_squares():
    report = ReconstructionReport.from_json(RECONSTRUCTION)
    assert report.table().splitlines()[-1] == (
        f"| 0.5 | {math.sqrt((0.25 + 0.04) / 2):.4f} | {math.sqrt(0.0025 / 2):.4f} | 5.0 | 0.750 |")
    assert len(report.table().splitlines()) == 4


@pytest.mark.parametrize("text, message", [
    ("{}", "is not a report of a reconstruction"),
    (RECONSTRUCTION.replace("[7, 3]", "[7]", 1), "0.5 has lists of different lengths"),
    (RECONSTRUCTION.replace('"spread"', '"spred"'), "a damaged one")])
def test_other_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        ReconstructionReport.from_json(text)
