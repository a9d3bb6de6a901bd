"""A family tree from samples to averages, on a mixture whose tree is known."""
import dataclasses
import math

import pytest
import torch
from families import FAMILY, LEVELS, SETTINGS, SHAPE, STEPS, Mixture, places

from mental_averages.dma.diffusion import starting_noise
from mental_averages.dma.execution import BatchSize, Checkpoint
from mental_averages.dma.mean_shift import (
    SAMPLES,
    TREE,
    Cut,
    MeanShiftSettings,
    TreeSettings,
    check_samples,
    family_tree,
    part_of,
)


def grow(settings=SETTINGS, denoiser=FAMILY, **options):
    return family_tree(denoiser, LEVELS, SHAPE, settings, seeking=denoiser, averaging=denoiser, **options)


@pytest.fixture(scope="module")
def family():
    return grow()


def test_every_mode_has_an_average_of_its_own(family):
    assert [len(made) for made in family.averages] == [4, 2, 1] and family.chosen == 1
    ends = torch.cat([family.averages[0][mode].latents for mode in range(4)])[:, 0, 0, 0]
    stands = family.tree.levels[0].points[:, 0, 0, 0]
    torch.testing.assert_close(ends, stands, rtol=0.05, atol=0.2)
    assert family.latents.shape == (2, *SHAPE) and family.leading == 2
    assert [share.count for share in family.clusters.shares] == family.tree.levels[1].sizes
    assert family.report.seconds >= family.tree.seconds


def test_given_samples_are_taken_instead():
    samples, own = FAMILY.samples(12)
    found = grow(samples=samples)
    assert torch.equal(found.samples, samples) and found.tree.levels[0].sizes == [3, 3, 3, 3]
    assert all(len(own[found.tree.levels[0].labels == mode].unique()) == 1 for mode in range(4))


def test_only_the_largest_are_averaged():
    found = grow(dataclasses.replace(SETTINGS, most=1, cut=Cut(level=3)))
    assert [list(made) for made in found.averages][0] == [0] and found.latents.shape == (1, *SHAPE)
    assert all(len(made) == 1 for made in found.averages)


@pytest.mark.parametrize("cut, averaged", [(Cut(modes=2), 2), (Cut(level=1), 3)])
def test_a_single_sample_is_shown_as_it_is_and_averaged_only_where_its_level_was_asked_for(cut, averaged):
    three = Mixture(places(-6.0, 4.0, 60.0))
    found = grow(dataclasses.replace(SETTINGS, cut=cut, tree=TreeSettings(STEPS[:1], 16, 30)), three,
                 samples=three.samples(5)[0])
    assert found.tree.levels[0].sizes == [2, 2, 1] and found.leading == averaged
    assert list(found.shown) == [(0, 0), (0, 1)], "a single sample has no branch of its own"
    assert torch.equal(found.shown[0, 1], found.averages[0][1].latents)


def test_a_single_sample_to_which_a_larger_mode_leads_down_is_shown_as_it_is():
    pair = places(-6.0, -4.0)  # two samples that are apart at the lowest level
    found = grow(dataclasses.replace(SETTINGS, cut=Cut(level=1), tree=TreeSettings(STEPS[:2], 16, 30)), samples=pair)
    assert [level.sizes for level in found.tree.levels] == [[1, 1], [2]]
    assert [list(made) for made in found.averages] == [[], [0]] and torch.equal(found.shown[0, 0], pair[:1])
    assert torch.equal(found.shown[1, 0], found.latents)


@pytest.mark.parametrize("size", [1, 5])
def test_results_do_not_depend_on_batches(family, size):
    found = grow(batch=BatchSize(size))
    torch.testing.assert_close(found.latents, family.latents, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.clusters.labels, family.clusters.labels)


class Shelf:
    """A place for the state of each part, as JSON and tensors."""

    def __init__(self):
        self.kept = {}

    def place(self, part):
        shelf = self

        class Place:
            def save(self, tensors, meta):
                shelf.kept[part] = ({name: value.clone() for name, value in tensors.items()}, meta)
                return True

        return Place()


@pytest.mark.parametrize("stop", [3, 25, 60, 75])
def test_an_interrupted_family_goes_on_in_the_part_where_it_was(family, stop):
    shelf, heard = Shelf(), []

    def interrupt(event, state):
        heard.append(event)
        if len(heard) == stop:
            raise KeyboardInterrupt

    def watchers(part):
        return [Checkpoint(shelf.place(part), seconds=0), interrupt]

    with pytest.raises(KeyboardInterrupt):
        grow(watchers=watchers)
    asked = Mixture(FAMILY.means)
    found = grow(denoiser=asked, restored=shelf.kept.get)
    whole = Mixture(FAMILY.means)
    grow(denoiser=whole)
    assert torch.equal(found.latents, family.latents) and torch.equal(found.clusters.labels, family.clusters.labels)
    assert asked.asked < whole.asked


def test_an_average_that_began_elsewhere_is_not_taken_for_a_modes_own(family):
    """As where the tree was lost and grown again, and its modes have other numbers."""
    shelf = Shelf()
    grow(watchers=lambda part: [Checkpoint(shelf.place(part), seconds=0)])
    kept = {part: state for part, state in shelf.kept.items() if part not in (SAMPLES, TREE)}
    kept[part_of(0, 0)], kept[part_of(0, 1)] = kept[part_of(0, 1)], kept[part_of(0, 0)]
    found = grow(restored=kept.get)
    assert torch.equal(found.latents, family.latents)
    for mode, average in family.averages[0].items():
        assert torch.equal(found.averages[0][mode].latents, average.latents)


def test_parts_are_named():
    parts = []
    grow(watchers=lambda part: parts.append(part) or ())
    assert parts[:2] == [SAMPLES, TREE] and parts[2] == part_of(0, 0) and len(parts) == 9


def test_the_most_that_it_can_cost_is_told_before():
    denoiser = Mixture(FAMILY.means)
    grow(denoiser=denoiser)
    assert denoiser.asked <= SETTINGS.most_predictions(24, 20)
    assert SETTINGS.most_predictions(24, 20, drawn=False) == SETTINGS.most_predictions(24, 20) - 24 * 20


@pytest.mark.parametrize("change, message", [
    (dict(samples=1), "at least two samples"), (dict(most=0), "most is 0"), (dict(cut=Cut(level=4)), "has 3 levels"),
    (dict(tree=TreeSettings(steps=(25,))), "between 0 and 19"),
    (dict(average=MeanShiftSettings(count=0)), "at least 1 noise")])
def test_bad_settings_are_refused_before_any_work(change, message):
    denoiser = Mixture(FAMILY.means)
    with pytest.raises(ValueError, match=message):
        grow(dataclasses.replace(SETTINGS, **change), denoiser)
    assert not denoiser.asked


@pytest.mark.parametrize("samples, message", [
    (torch.zeros(1, *SHAPE), "at least two"), (torch.ones(3, *SHAPE), "All 3 samples are the same"),
    (torch.full((2, *SHAPE), math.nan), "NaN"), (torch.zeros(3, 1, 4, 4), "have the shape")])
def test_samples_that_no_tree_grows_from(samples, message):
    with pytest.raises(ValueError, match=message):
        check_samples(samples, SHAPE)


class Listening(Mixture):
    """Keeps what it is asked."""

    def __init__(self, means):
        super().__init__(means)
        self.heard = []

    def denoise(self, x, sigma):
        self.heard += [(sigma, row) for row in x]
        return super().denoise(x, sigma)

    def noises(self):
        """The noises (n, C, H, W) of all pairs of both signs: half of what lies between two that follow each other."""
        return torch.stack([(one - other) / (2 * sigma)
                            for (sigma, one), (_, other) in zip(self.heard[::2], self.heard[1::2])])


def test_samples_tree_and_averages_of_one_seed_have_noises_of_their_own():
    drawing, seeking, averaging = (Listening(FAMILY.means) for _ in range(3))
    steps = (0, *SETTINGS.tree.steps)  # at the first step an average's noises are else those of plain samples
    settings = dataclasses.replace(SETTINGS, tree=TreeSettings(steps, 16, 30, SETTINGS.seed),
                                   average=dataclasses.replace(SETTINGS.average, seed=SETTINGS.seed))
    family_tree(drawing, LEVELS, SHAPE, settings, seeking=seeking, averaging=averaging)
    started = torch.stack([row for _, row in drawing.heard[: SETTINGS.samples]]) / (1 + LEVELS[0] ** 2).sqrt()
    torch.testing.assert_close(started, starting_noise(SETTINGS.samples, SHAPE, SETTINGS.seed))
    kinds = started, seeking.noises(), averaging.noises()
    for number, kind in enumerate(kinds):
        assert kind.flatten(1).norm(dim=1).min() > 0.1, "noises of both signs, and not predictions of two points"
        for other in kinds[number + 1 :]:
            assert torch.cdist(kind.flatten(1), other.flatten(1)).min() > 1e-3
    assert seeking.noises().flatten(1).norm(dim=1).max() < 5


FOUR = places(-6.0, -4.0, 4.0, 6.0)


@pytest.mark.parametrize("samples, cut", [(FAMILY.samples(24)[0], Cut(level=3)), (FOUR, Cut(level=3)),
                                          (FOUR, Cut(modes=2))])
def test_averages_cost_no_more_than_was_told(samples, cut):
    settings, averaging, drawing = dataclasses.replace(SETTINGS, cut=cut), Mixture(FAMILY.means), Mixture(FAMILY.means)
    family_tree(drawing, LEVELS, SHAPE, settings, seeking=FAMILY, averaging=averaging, samples=samples)
    assert 0 < averaging.asked + drawing.asked <= settings.most_of_averages(len(samples), 20)
