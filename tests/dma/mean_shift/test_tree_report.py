import json

import pytest
import torch
from families import FAMILY, LEVELS, SHAPE, STEPS
from reports import MODE_TREE, changed

from mental_averages.dma.mean_shift import (
    ModeTree,
    ModeTreeReport,
    TreeLevel,
    TreeSettings,
    mode_tree,
    tree_agreement,
)
from mental_averages.dma.mean_shift._tree_state import by_size

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


@pytest.mark.parametrize("count", range(2, 40))
def test_a_mode_of_all_samples_is_read_back_although_its_interval_may_end_below_its_share(count):
    report = report_of(list(range(count)), [0] * count)
    assert ModeTreeReport.from_json(report.to_json()).levels == report.levels


def test_saved_trees_are_read():
    assert ModeTreeReport.from_json(MODE_TREE).levels[0].modes[1].parent == 1


@pytest.mark.parametrize("text, message", [
    (changed(MODE_TREE, place=("levels", 0), labels=[0, 1]), "of different samples"),
    (changed(MODE_TREE, place=("levels", 0), labels=[0, 1, 0, 3, 0]), "in modes that it has not"),
    (changed(MODE_TREE, place=("levels", 0), labels=[]), "of different samples"),
    (changed(changed(MODE_TREE, place=("levels", 0), labels=[]), place=("levels", 1), labels=[]), "has no samples"),
    (changed(MODE_TREE, place=("levels", 1), labels=[0, 0, 0, 0, 1]), "has samples of its mode 0"),
    (changed(MODE_TREE, place=("levels", 0), labels=[0, 1, 1, 2, 0]), "a count of 3, but 2"),
    (changed(MODE_TREE, place=("levels", 0, "modes", 0), parent=None), "part of mode None"),
    (changed(MODE_TREE, place=("levels", 0, "modes", 0), parent=2), "part of mode 2"),
    (changed(MODE_TREE, place=("levels", 0, "modes", 0), parent=1), "has samples of its mode 0"),
    (changed(MODE_TREE, place=("levels", 1, "modes", 0), parent=0), "is the highest level"),
    (changed(MODE_TREE, place=("levels", 0, "modes", 0), count=0), "a count of 0, but 3"),
    (changed(MODE_TREE, place=("levels", 0, "modes", 1), count=-1), "a count of -1"),
    (changed(MODE_TREE, place=("levels", 0), modes=[*json.loads(MODE_TREE)["levels"][0]["modes"],
     {"count": 0, "share": 0.0, "low": 0.0, "high": 0.1, "parent": 0}]), r"modes\[3\] has a count of 0"),
    (changed(MODE_TREE, place=("levels", 0, "modes", 0), share=0.5), "a share of 0.5"),
    (changed(MODE_TREE, place=("levels", 0, "modes", 0), share=float("nan")), "a share of nan"),
    (changed(MODE_TREE, place=("levels", 0, "modes", 0), low=0.7), "between 0.7 and"),
    (changed(MODE_TREE, place=("levels", 0, "modes", 0), high=1.1), "and 1.1"),
    (changed(MODE_TREE, place=("levels", 0), labels=[1, 0, 1, 2, 1], modes=[
        json.loads(MODE_TREE)["levels"][0]["modes"][mode] for mode in (1, 0, 2)]), "begin with the largest"),
    (changed(MODE_TREE, place=("levels", 0), sigma=5.0), "a lower noise level than the next"),
    (changed(MODE_TREE, place=("levels", 0), step=4), "later step"),
    (changed(MODE_TREE, place=("levels", 1), sigma=float("inf")), "noise level inf"),
    (changed(MODE_TREE, place=("levels", 0), sigma=0.0), "noise level 0.0"),
    (changed(MODE_TREE, place=("levels", 0), error=float("nan")), "error nan"),
    (changed(MODE_TREE, place=("levels", 0), iterations=-1), "-1 iterations"),
    (changed(MODE_TREE, seconds=-1.0), "seconds is -1"),
    (changed(MODE_TREE, levels=[]), "no levels"),
    (changed(MODE_TREE, version=9), "format version 9")])
def test_damaged_trees_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        ModeTreeReport.from_json(text)


def test_parts_of_a_mode_stand_side_by_side(report):
    shown = report.shown()
    assert shown[2] == [0] and shown[1] == [0, 1]
    parents = [report.levels[0].modes[mode].parent for mode in shown[0]]
    assert parents == [0, 0, 1, 1] and sorted(shown[0]) == [0, 1, 2, 3]


def report_of(*levels):
    """The report of levels, the lowest first, each given by the mode of each sample."""
    made = []
    for number, labels in enumerate(levels):
        labels = torch.tensor(labels)
        made.append(TreeLevel(10 - number, 1.0 + number, labels, torch.zeros(int(labels.max()) + 1, *SHAPE), 5, 0.1,
                              True))
    return ModeTreeReport.of(ModeTree(tuple(made), 1.0), TreeSettings())


def test_large_modes_of_every_level_have_a_branch_even_where_they_fall_into_single_samples():
    """20 samples in three modes of three below, and 11 that are one mode only at the higher level."""
    lowest = [0] * 3 + [1] * 3 + [2] * 3 + list(range(3, 14))
    report = report_of(lowest, [1] * 3 + [2] * 3 + [3] * 3 + [0] * 11, [0] * 20)
    assert report.shown(4) == [[3, 0, 1, 2], [0, 1, 2, 3], [0]]
    assert report.shown(2) == [[3, 0], [0, 1], [0]]
    assert report.hidden(0, report.shown(4)[0]) == (10, 10) and report.hidden(1, report.shown(2)[1]) == (2, 6)
    assert report.hidden(1, report.shown(4)[1]) == (0, 0)


def test_no_mode_is_left_out_while_a_smaller_one_has_a_branch_of_its_own():
    """Of random trees: each leaf but one is there for a mode that is no smaller than any that is not shown."""
    generator = torch.Generator().manual_seed(0)
    for most in range(1, 9):
        above = torch.randint(6, (40,), generator=generator)
        labels = [above]
        for parts in (3, 2):
            labels.insert(0, labels[0] * parts + torch.randint(parts, (40,), generator=generator))
        groups = [found.unique(return_inverse=True)[1] for found in labels]
        report = report_of(*(by_size(found)[found].tolist() for found in groups))
        shown = report.shown(most)
        assert len(shown[0]) <= most
        left = [mode.count for level, modes in zip(report.levels, shown) for index, mode in enumerate(level.modes)
                if index not in modes]
        for below, parts, modes in zip(report.levels, shown, shown[1:]):
            for mode in modes:
                own = sorted(part for part in parts if below.modes[part].parent == mode)
                assert own and own[0] == min(index for index, part in enumerate(below.modes) if part.parent == mode)
                # All but the largest have a branch of their own.
                assert all(below.modes[part].count >= max([count for count in left if count > 1], default=0)
                           for part in own[1:])


def test_single_samples_have_a_branch_only_where_there_is_nothing_else():
    report = ModeTreeReport.from_json(MODE_TREE)
    assert report.shown(1) == [[0], [0]] and report.shown() == [[0], [0]]
    assert report.hidden(0, [0]) == (2, 2) and report.hidden(1, [0]) == (1, 1)
    assert report_of([0, 1, 2], [0, 1, 2]).shown(2) == [[0, 1], [0, 1]]


def test_trees_of_other_noises_agree(report):
    other = TreeSettings(steps=STEPS, count=64, iterations=40, seed=7)
    again = ModeTreeReport.of(mode_tree(FAMILY, FAMILY.samples(24)[0], LEVELS, other), other)
    assert tree_agreement(report, again) == [1.0, 1.0, 1.0]
    crossed = tree_agreement(report_of([0, 0, 1, 1], [0, 0, 0, 0]), report_of([0, 1, 0, 1], [0, 0, 0, 0]))
    assert crossed == [-0.5, 1.0]


def test_what_cannot_be_compared(report):
    with pytest.raises(ValueError, match="of 3 and 2"):
        tree_agreement(report_of([0, 1, 0], [0, 0, 0]), report_of([0, 0], [0, 0]))
    with pytest.raises(ValueError, match="same levels"):
        tree_agreement(report, ModeTreeReport.from_json(MODE_TREE))
