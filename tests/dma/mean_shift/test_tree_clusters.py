import json

import pytest
import torch
from families import FAMILY, LEVELS, STEPS
from peak_memory import largest_made_by

from mental_averages.dma.mean_shift import Cut, ModeTree, TreeLevel, TreeSettings, mode_tree, tree_clusters
from mental_averages.dma.statistics import wilson_interval

SETTINGS = TreeSettings(steps=STEPS, count=64, iterations=40)
SAMPLES, OWN = FAMILY.samples(24)


@pytest.fixture(scope="module")
def tree():
    return mode_tree(FAMILY, SAMPLES, LEVELS, SETTINGS)


def test_a_level_is_clusters_of_its_samples(tree):
    found = tree_clusters(tree, SAMPLES, 1, SETTINGS)
    assert torch.equal(found.labels, tree.levels[1].labels) and not found.left_out
    assert found.responsibilities.sum(1).tolist() == [1.0] * 24
    assert torch.equal(found.responsibilities.argmax(1), found.labels)
    assert [share.count for share in found.shares] == [12, 12] and found.bic == ()
    assert (found.shares[0].low, found.shares[0].high) == wilson_interval(12, 24)
    assert sorted(row for rows in found.members for row in rows) == list(range(24))
    assert found.coordinates.shape[0] == 24 and found.coordinates.shape[1] == len(found.explained_variance)


def test_the_sample_that_is_nearest_to_where_a_mode_stands_is_the_most_typical(tree):
    found = tree_clusters(tree, SAMPLES, 0, SETTINGS)
    for mode, rows in enumerate(found.members):
        apart = (SAMPLES[list(rows)] - tree.levels[0].points[mode]).flatten(1).norm(dim=1)
        assert torch.equal(apart, apart.sort().values) and {int(OWN[row]) for row in rows} == {int(OWN[rows[0]])}


def test_no_copy_of_all_samples_is_made():
    """In fp64 there were three of them."""
    samples = torch.rand(16, 2, 1024, 1024, generator=torch.Generator().manual_seed(0))
    level = TreeLevel(3, 1.0, torch.arange(16) % 2, samples[:2] + 0.1, 5, 0.1, True)
    found = []
    most = largest_made_by(lambda: found.append(tree_clusters(ModeTree((level,), 1.0), samples, 0, SETTINGS)))
    assert most < 1.8 * samples.nbytes
    apart = [(sample.double() - level.points[row % 2].double()).norm().item() for row, sample in enumerate(samples)]
    assert [list(rows) for rows in found[0].members] == [sorted(range(mode, 16, 2), key=apart.__getitem__)
                                                         for mode in (0, 1)]


def test_clusters_are_written_down_with_how_they_were_found(tree):
    found = json.loads(tree_clusters(tree, SAMPLES, 2, SETTINGS).to_json())
    assert found["bic"] == [] and found["settings"]["method"] == "mode tree"
    assert found["settings"]["step"] == min(STEPS) and found["settings"]["tree"]["count"] == 64


def test_other_samples_and_equal_ones_are_refused(tree):
    with pytest.raises(ValueError, match="of 24 samples, but these are 3"):
        tree_clusters(tree, SAMPLES[:3], 0, SETTINGS)
    same = SAMPLES[:1].expand(3, -1, -1, -1)
    with pytest.raises(ValueError, match="same embedding"):
        tree_clusters(mode_tree(FAMILY, same, LEVELS, SETTINGS), same, 0, SETTINGS)


@pytest.mark.parametrize("cut, level", [
    (Cut(level=1), 2), (Cut(level=3), 0), (Cut(modes=1), 2), (Cut(modes=2), 1), (Cut(modes=3), 0), (Cut(modes=4), 0),
    (Cut(modes=9), 0)])
def test_a_tree_is_cut_at_a_row_or_by_a_number_of_modes(tree, cut, level):
    cut.check(3)
    assert cut.of(tree) == level


@pytest.mark.parametrize("cut, message", [
    (Cut(), "give one of them"), (Cut(modes=2, level=1), "give one of them"), (Cut(modes=0), "at least one mode"),
    (Cut(level=0), "from 1"), (Cut(level=4), "has 3 levels")])
def test_cuts_that_there_are_not(cut, message):
    with pytest.raises(ValueError, match=message):
        cut.check(3)
