"""The family tree of modes, against mixtures of Gaussians whose modes are known."""
import math

import pytest
import torch
from families import FAMILY, LEVELS, SHAPE, STEPS, Mixture, places, step_near

from mental_averages.dma.execution import BatchSize
from mental_averages.dma.mean_shift import TreeSettings, TreeState, mode_tree

SETTINGS = TreeSettings(steps=STEPS, count=64, iterations=40)


@pytest.fixture(scope="module")
def tree():
    return mode_tree(FAMILY, FAMILY.samples(24)[0], LEVELS, SETTINGS)


def test_a_family_of_four_becomes_two_and_one(tree):
    assert [len(level.points) for level in tree.levels] == [4, 2, 1]
    assert all(level.still for level in tree.levels)
    own = FAMILY.samples(24)[1]
    for level, groups in zip(tree.levels, (own, own // 2, own * 0)):
        for group in groups.unique():
            assert len(level.labels[groups == group].unique()) == 1
    assert [level.sizes for level in tree.levels] == [[6, 6, 6, 6], [12, 12], [24]]
    assert [level.sigma for level in tree.levels] == [LEVELS[step].item() for step in sorted(STEPS, reverse=True)]


def test_modes_stand_where_the_blurred_density_has_its_modes(tree):
    for level, expected in zip(tree.levels, ([-6, -4, 4, 6], [-5, 5], [0])):
        # The noises that all share have a mean of their own.
        assert sorted(level.points[:, 0, 0, 0].tolist()) == pytest.approx(expected, abs=3 * level.error + 0.05)
    assert tree.levels[0].error < 0.1


def test_two_equal_gaussians_merge_where_their_blurred_sum_has_one_mode():
    """Two equal Gaussians at +-d under a blur of variance v have two modes while d^2 > v. Noising and predicting blurs
    twice: v = variance + 2 sigma^2 (with as many noises as it takes)."""
    pair = Mixture(places(-2.0, 2.0))
    merging = math.sqrt((4 - pair.variance) / 2)
    apart, met = (mode_tree(pair, pair.samples(8)[0], LEVELS, TreeSettings((step_near(sigma),), 4096, 200),
                            batch=BatchSize(8192)).levels[0] for sigma in (0.6 * merging, 1.5 * merging))
    assert len(apart.points) == 2 and len(met.points) == 1


def test_parents_say_which_modes_a_mode_becomes_a_part_of(tree):
    for number in range(2):
        parents = tree.parents(number)
        for mode, parent in enumerate(parents):
            inside = tree.levels[number].labels == mode
            assert (tree.levels[number + 1].labels[inside] == parent).all()


def test_flows_that_have_met_are_computed_once():
    denoiser = Mixture(FAMILY.means)
    few = TreeSettings(steps=STEPS[:1], count=16, iterations=40)
    mode_tree(denoiser, denoiser.samples(24)[0], LEVELS, few)
    lowest, denoiser.asked = denoiser.asked, 0
    found = mode_tree(denoiser, denoiser.samples(24)[0], LEVELS, TreeSettings(steps=STEPS, count=16, iterations=40))
    later = sum(level.iterations * 16 * 4 for level in found.levels[1:])
    assert denoiser.asked - lowest <= later


@pytest.mark.parametrize("size", [1, 7])
def test_the_tree_does_not_depend_on_batches(size):
    settings = TreeSettings(steps=STEPS, count=8, iterations=10)
    samples = FAMILY.samples(9)[0]
    whole, parts = (mode_tree(FAMILY, samples, LEVELS, settings, batch=BatchSize(rows)) for rows in (1000, size))
    for one, other in zip(whole.levels, parts.levels):
        assert torch.equal(one.labels, other.labels) and one.iterations == other.iterations
        torch.testing.assert_close(one.points, other.points, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stop", [1, 3, 12])
def test_an_interrupted_tree_goes_on(stop):
    settings = TreeSettings(steps=STEPS, count=8, iterations=10)
    samples = FAMILY.samples(9)[0]
    whole, saved = mode_tree(FAMILY, samples, LEVELS, settings), []

    def interrupt(event, state):
        if event.changed or event.closes:
            saved.append(state.packed())
            if len(saved) == stop:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mode_tree(FAMILY, samples, LEVELS, settings, watchers=[interrupt])
    found = mode_tree(FAMILY, samples, LEVELS, settings, state=TreeState.unpacked(*saved[-1]))
    for one, other in zip(whole.levels, found.levels):
        assert torch.equal(one.labels, other.labels) and torch.equal(one.points, other.points)


@pytest.mark.parametrize("stop", [1, 7, 18, 19, 60])
def test_nothing_is_predicted_twice_after_an_interrupt_within_a_move(stop):
    settings = TreeSettings(steps=STEPS, count=8, iterations=10)
    denoiser, samples, saved, heard = Mixture(FAMILY.means), FAMILY.samples(9)[0], [], []

    def interrupt(event, state):
        heard.append(event)
        if event.changed or event.closes:
            saved.append(state.packed())
        if len(heard) == stop:
            raise KeyboardInterrupt

    whole = mode_tree(denoiser, samples, LEVELS, settings, batch=BatchSize(4))
    cost, denoiser.asked = denoiser.asked, 0
    with pytest.raises(KeyboardInterrupt):
        mode_tree(denoiser, samples, LEVELS, settings, batch=BatchSize(4), watchers=[interrupt])
    tensors, meta = saved[-1]
    found = mode_tree(denoiser, samples, LEVELS, settings, batch=BatchSize(4), state=TreeState.unpacked(
        {name: value.clone() for name, value in tensors.items()}, meta))
    assert denoiser.asked == cost
    for one, other in zip(whole.levels, found.levels):
        assert torch.equal(one.labels, other.labels) and torch.equal(one.points, other.points)


def test_samples_in_another_order_are_in_the_same_modes():
    samples, own = FAMILY.samples(12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    one, other = (mode_tree(FAMILY, rows, LEVELS, SETTINGS) for rows in (samples, samples[order]))
    for first, second in zip(one.levels, other.levels):
        same = first.labels[order][:, None] == first.labels[order]
        assert torch.equal(same, second.labels[:, None] == second.labels)


def test_a_flow_that_does_not_come_to_stand_still_is_told():
    found = mode_tree(FAMILY, FAMILY.samples(6)[0], LEVELS, TreeSettings(steps=STEPS[1:2], count=512, iterations=3))
    assert not found.levels[0].still and found.levels[0].iterations == 3


def test_samples_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        mode_tree(FAMILY, torch.full((2, *SHAPE), math.nan), LEVELS, SETTINGS)


def test_equal_samples_are_one_mode():
    found = mode_tree(FAMILY, FAMILY.samples(1)[0].expand(3, -1, -1, -1), LEVELS, SETTINGS)
    assert [level.sizes for level in found.levels] == [[3], [3], [3]]
