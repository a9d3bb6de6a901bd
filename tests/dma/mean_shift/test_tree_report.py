import json

import pytest
from families import FAMILY, LEVELS, STEPS
from reports import MODE_TREE, changed

from mental_averages.dma.mean_shift import ModeTreeReport, TreeSettings, agreement, mode_tree, tree_agreement

SETTINGS = TreeSettings(steps=STEPS, count=64, iterations=40)


@pytest.fixture(scope="module")
def report():
    return ModeTreeReport.of(mode_tree(FAMILY, FAMILY.samples(24)[0], LEVELS, SETTINGS), SETTINGS)


def test_a_tree_is_written_down_and_read_back(report):
    assert [[mode.count for mode in level.modes] for level in report.levels] == [[6, 6, 6, 6], [12, 12], [24]]
    assert [mode.parent for mode in report.levels[2].modes] == [None]
    assert sorted(mode.parent for mode in report.levels[0].modes) == [0, 0, 1, 1]
    again = ModeTreeReport.from_json(report.to_json())
    assert again.levels == report.levels and again.settings == json.loads(json.dumps(report.settings))


def test_saved_trees_are_read():
    assert ModeTreeReport.from_json(MODE_TREE).levels[0].modes[1].parent == 1


@pytest.mark.parametrize("text, message", [
    (changed(MODE_TREE, place=("levels", 0), labels=[0, 1]), "of different samples"),
    (changed(MODE_TREE, place=("levels", 0), labels=[0, 1, 0, 3, 0]), "in modes that it has not"),
    (changed(MODE_TREE, place=("levels", 0, "modes", 0), parent=None), "a part of none"),
    (changed(MODE_TREE, place=("levels", 0, "modes", 0), parent=2), "a part of none"),
    (changed(MODE_TREE, place=("levels", 1, "modes", 0), parent=0), "a part of none"),
    (changed(MODE_TREE, version=9), "format version 9")])
def test_damaged_trees_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        ModeTreeReport.from_json(text)


def test_parts_of_a_mode_stand_side_by_side(report):
    shown = report.shown()
    assert shown[2] == [0] and shown[1] == [0, 1]
    parents = [report.levels[0].modes[mode].parent for mode in shown[0]]
    assert parents == [0, 0, 1, 1] and sorted(shown[0]) == [0, 1, 2, 3]


def test_only_the_largest_leaves_are_shown_with_what_they_are_a_part_of():
    report = ModeTreeReport.from_json(MODE_TREE)
    assert report.shown(1) == [[0], [0]] and report.shown(2) == [[0, 1], [0, 1]]
    assert report.shown() == [[0, 2, 1], [0, 1]]


def test_trees_of_other_noises_agree(report):
    other = TreeSettings(steps=STEPS, count=64, iterations=40, seed=7)
    again = ModeTreeReport.of(mode_tree(FAMILY, FAMILY.samples(24)[0], LEVELS, other), other)
    assert tree_agreement(report, again) == [1.0, 1.0, 1.0]


def test_what_cannot_be_compared(report):
    with pytest.raises(ValueError, match="of 2 and 3"):
        agreement([0, 1], [0, 1, 2])
    with pytest.raises(ValueError, match="same levels"):
        tree_agreement(report, ModeTreeReport.from_json(MODE_TREE))
