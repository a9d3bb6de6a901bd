import json
import typing

import pytest
import torch
from pictures import check_picture
from reports import ALIGNMENT_1, KINDS, saved

from mental_averages.dma import figures
from mental_averages.dma.alignment import AlignmentReport


@pytest.mark.parametrize("kind", KINDS)
def test_saved_files_of_every_kind_are_read_and_drawn(kind):
    report, text = KINDS[kind]
    found = figures.read_report(text)
    assert type(found) is report and found.to_json() == json.dumps(json.loads(text), indent=1)
    assert figures.read_report(found.to_json()) == found
    check_picture(image := figures.plot(found, width=512), 512)
    assert torch.equal(image, getattr(figures, f"plot_{kind}")(found, width=512))


def test_every_kind_of_report_has_a_plot_and_a_file_in_these_tests():
    assert set(typing.get_args(figures.Report)) == {kind for kind, _ in KINDS.values()}


def test_earlier_versions_are_read():
    assert type(figures.read_report(ALIGNMENT_1)) is AlignmentReport


@pytest.mark.parametrize("text, message", [
    ("nonsense", "not JSON"), ("[]", "is not a report"), ("{}", "is not a report"),
    ('{"format": "mental-averages/clusters", "version": 1}', "is not a report"), ('{"format": []}', "is not a report"),
    ('{"format": "mental-averages/training-report", "version": 9}', "a report of a training in format version 9"),
    ('{"format": "mental-averages/layer-report", "version": 1}', "a report of a layer probe, but a damaged one")])
def test_other_texts(text, message):
    with pytest.raises(ValueError, match=message):
        figures.read_report(text)


def test_what_cannot_be_drawn():
    with pytest.raises(ValueError, match="no steps"):
        figures.plot(saved("training", losses=[]))
    with pytest.raises(TypeError, match="no plot of dict"):
        figures.plot({"losses": [1.0]})
