"""A family tree from its samples to the averages of its modes, in parts that can each be gone on with.

The parts are "samples", "tree", and "average L-M" for mode M at level L, counted from 0 at the lowest noise level.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..clustering import Clusters
from ..diffusion import Denoiser, SamplesState, draw_samples, salted_seed
from ..execution import BatchSize, Watcher
from ..statistics import check_different
from ._mean_shift import ALGORITHM, MeanShift, Start, mean_shift
from ._settings import MeanShiftSettings
from ._state import MeanShiftState
from ._tree import TREE_ALGORITHM, ModeTree, mode_tree
from ._tree_clusters import Cut, tree_clusters
from ._tree_report import MOST_LEAVES, SEVERAL, ModeTreeReport
from ._tree_settings import TreeSettings
from ._tree_state import TreeLevel, TreeState

# A mode has been found, so that its average has to go less far than one from nothing.
AVERAGED = 4

Packed = tuple[dict[str, Tensor], dict]
SAMPLES, TREE = "samples", "tree"

# Part of the key of every saved run. Raise the number when one of the same settings gives other averages than before.
FAMILY_ALGORITHM = f"family tree 2, {TREE_ALGORITHM}, {ALGORITHM}"


def part_of(level: int, mode: int) -> str:
    return f"average {level}-{mode}"


@dataclass(frozen=True)
class FamilySettings:
    """The choices of a family tree with averages that its result depends on.

    samples: N, how many are drawn. seed: of their noise. average: how a mode is averaged, from its own level on, at as
    many of the steps from there as there are. most: the leaves of the tree's picture, whose modes of two samples or
    more are averaged, and the most that are averaged of the chosen level.
    """

    samples: int = 48
    seed: int = 0
    tree: TreeSettings = field(default_factory=TreeSettings)
    average: MeanShiftSettings = field(default_factory=lambda: MeanShiftSettings(count=16, averaged_steps=AVERAGED))
    cut: Cut = Cut(modes=4)
    most: int = MOST_LEAVES

    def check(self, samples: int, steps: int) -> None:
        """Raise ValueError if these settings make no sense for so many samples and a schedule of so many steps."""
        self.tree.check(samples, steps)
        self.cut.check(len(self.tree.steps))
        self.average_at(max(self.tree.steps), steps).check(steps, first=max(self.tree.steps))
        if self.most < 1:
            raise ValueError(f"most is {self.most}: at least one mode of a level is averaged.")

    def average_at(self, step: int, steps: int) -> MeanShiftSettings:
        """How a mode of the level at `step` is averaged in a schedule of so many steps.

        By noises of their own: at the first step those of an average are what samples of its seed are drawn from.
        """
        return replace(self.average, averaged_steps=min(self.average.averaged_steps, steps - step),
                       seed=salted_seed(self.average.seed, "averages of modes"))

    def most_predictions(self, samples: int, steps: int, *, drawn: bool = True) -> int:
        """The most predictions that a tree of so many samples can take: with no two that meet, every flow in need of
        all of its iterations, and as many averages as there can be."""
        return samples * steps * drawn + self.most_of_tree(samples) + self.most_of_averages(samples, steps)

    def most_of_tree(self, samples: int) -> int:
        return len(self.tree.steps) * samples * self.tree.count * self.tree.iterations

    def most_of_averages(self, samples: int, steps: int) -> int:
        averages = ((step, self.average_at(step, steps)) for step in self.tree.steps)
        each = [average.count * average.averaged_steps + steps - step - average.averaged_steps
                for step, average in averages]
        # Of every level those that are shown, and of the chosen one the largest besides.
        return min(samples // SEVERAL, self.most) * sum(each) + min(samples, self.most) * max(each)


@dataclass(frozen=True)
class Family:
    """What `family_tree` found.

    samples: finished (N, C, H, W). averages: for each level, the lowest first, the averages by mode that were made.
    shown: what the tree's picture shows, by level and mode: the average (1, C, H, W), or of a mode of one sample that
    sample. chosen: the number of the level that was asked for, and clusters its modes.
    """

    samples: Tensor
    tree: ModeTree
    averages: tuple[dict[int, MeanShift], ...]
    shown: dict[tuple[int, int], Tensor]
    chosen: int
    clusters: Clusters
    report: ModeTreeReport

    @property
    def latents(self) -> Tensor:
        """The averages (M, C, H, W) of the chosen level's modes, the largest first."""
        made = self.averages[self.chosen]
        return torch.cat([made[mode].latents for mode in range(self.leading)])

    @property
    def leading(self) -> int:
        """How many of the chosen level's modes, from the largest on, have an average."""
        made = self.averages[self.chosen]
        return next(mode for mode in range(len(made) + 1) if mode not in made)


def family_tree(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], settings: FamilySettings, *,
                seeking: Denoiser, averaging: Denoiser, samples: Tensor | None = None, batch: BatchSize | None = None,
                watchers: Callable[[str], Sequence[Watcher]] = lambda part: (),
                restored: Callable[[str], Packed | None] = lambda part: None) -> Family:
    """The family tree of a concept in latents of `shape` (C, H, W) along `sigmas` (S + 1,), falling to 0.

    denoiser: draws the samples, and each average from its averaged levels on. seeking: finds the modes, at little
    guidance. averaging: predicts in the averaged levels. samples: finished latents (N, C, H, W) instead of drawn ones.
    watchers: who listens to each part, by name. restored: what was saved of a part, to go on from. The result does not
    depend on `batch` beyond rounding.

    Raises ValueError for settings that make no sense, for noise levels that do not fall, for samples that are not
    finite, of another shape or all the same, and, as NotFiniteError that names the step, where the model predicts NaN
    or infinity.
    """
    steps = len(sigmas) - 1
    settings.check(settings.samples if samples is None else len(samples), steps)
    if samples is None:
        saved = restored(SAMPLES)
        samples = draw_samples(denoiser, sigmas, shape, settings.samples, settings.seed, batch=batch,
                               watchers=watchers(SAMPLES), state=SamplesState.unpacked(*saved) if saved else None)
    check_samples(samples, shape)
    saved = restored(TREE)
    tree = mode_tree(seeking, samples, sigmas, settings.tree, batch=batch, watchers=watchers(TREE),
                     state=TreeState.unpacked(*saved) if saved else None)
    report = ModeTreeReport.of(tree, settings.tree)
    chosen = settings.cut.of(tree)
    clusters = tree_clusters(tree, samples, chosen, settings.tree)  # before the averages: it may refuse the samples
    shown = report.shown(settings.most)
    # What a single sample has in common is the sample: an average of it is made only where it was asked for.
    wanted = [{mode for mode in modes if level.sizes[mode] >= SEVERAL} for level, modes in zip(tree.levels, shown)]
    wanted[chosen] |= set(range(min(settings.most, settings.cut.taken(tree.levels[chosen]))))
    averages: list[dict[int, MeanShift]] = []
    for number, (level, modes) in enumerate(zip(tree.levels, wanted)):
        averages.append({})
        for mode in sorted(modes):
            part = part_of(number, mode)
            averages[-1][mode] = mode_average(
                denoiser, sigmas, level, mode, settings.average_at(level.step, steps), averaging=averaging, batch=batch,
                watchers=watchers(part), saved=restored(part))
    pictured = {(number, mode): averages[number][mode].latents if mode in averages[number]
                else samples[level.labels == mode]
                for number, (level, modes) in enumerate(zip(tree.levels, shown)) for mode in modes}
    seconds = tree.seconds + sum(average.report.seconds for made in averages for average in made.values())
    return Family(samples, tree, tuple(averages), pictured, chosen, clusters, replace(report, seconds=seconds))


def mode_average(denoiser: Denoiser, sigmas: Tensor, level: TreeLevel, mode: int, settings: MeanShiftSettings, *,
                 averaging: Denoiser, batch: BatchSize | None = None, watchers: Sequence[Watcher] = (),
                 saved: Packed | None = None) -> MeanShift:
    """The average of one mode of a level: mean shift from where the mode stands on, at the level's own noise.

    What was saved is gone on with if it began there. Modes are known by their numbers, which a tree that had to be
    grown again may give to others.
    """
    point = level.points[mode : mode + 1]
    state = MeanShiftState.unpacked(*saved) if saved else None
    if state is not None and not (state.start is not None and torch.equal(state.start, point)):
        state = None
    return mean_shift(denoiser, sigmas, tuple(point.shape[1:]), settings, averaging=averaging,
                      start=Start(point, first=level.step), batch=batch, watchers=watchers,
                      state=state)


def check_samples(samples: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless finished samples are two or more latents of `shape` (C, H, W) that are finite and not all
    the same."""
    if tuple(samples.shape[1:]) != tuple(shape):
        raise ValueError(f"The samples have the shape {tuple(samples.shape[1:])}, but the tree {tuple(shape)}.")
    if len(samples) < 2:
        raise ValueError(f"A family tree needs at least two samples, but there is {len(samples)}.")
    if not torch.isfinite(samples).all():
        raise ValueError("The samples contain NaN or infinity.")
    check_different(samples, "samples", "a family tree is of samples that differ")
