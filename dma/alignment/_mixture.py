"""Averages of the modes of a concept without training: a Gaussian mixture in the semantic space weights the mean.

K latents are sampled plainly. At one noise level on the way, where the modes have parted but details have not been
decided, their features H are read and a mixture is fitted to them. Its responsibilities r weight the mean,

    A_c = sum_k r_kc H(x_k) / sum_k r_kc        for each component c,

and from that level on each mode is aligned as `align` aligns a whole concept: members of the mode are moved until their
features are A_c, and sampled to the end. Finished samples from elsewhere are brought to the level by noise.
"""
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from .. import clustering
from ..clustering import Clusters, ClusterSettings
from ..diffusion import Denoiser, check_falling
from ..execution import BatchSize, Clock, Event, Watcher, choose_batch, drive
from ..precision import in_double
from ..statistics import effective_count
from ._align import ALGORITHM, trajectories
from ._mixture_features import read_pooled
from ._mixture_report import MixtureReport, ModeRecord
from ._mixture_state import Exploration, Explored, MixtureState, Packed, explore
from ._settings import AlignmentSettings
from ._start import Ensemble

# As `ALGORITHM` of an alignment, whose number is part of it because each mode is aligned by one.
MIXTURE_ALGORITHM = f"mixture 2, {ALGORITHM}"


@dataclass(frozen=True)
class MixtureAlignment:
    """What `align_mixture` found. Modes are in the order of `clusters`, the largest first."""

    latents: tuple[Tensor, ...]  # of each mode its finished latents (keep, C, H, W), fewer where it has fewer members
    clusters: Clusters  # of the K samples
    samples: Tensor  # (K, C, H, W)
    report: MixtureReport


def check_mixture(settings: AlignmentSettings, mixture: ClusterSettings, level: int, steps: int) -> None:
    """Raise ValueError if modes cannot be found and averaged in this way in `steps` steps."""
    if not 0 <= level < steps:
        raise ValueError(f"The mixture is fitted after {level} steps, but there are {steps} steps: choose an "
                         "earlier level.")
    if settings.aligned_steps > steps - level:
        raise ValueError(f"aligned_steps is {settings.aligned_steps}, but after the mixture's level only "
                         f"{steps - level} of {steps} steps are left: lower aligned_steps or choose an earlier level.")
    settings.check(steps - level)
    clustering.check_count(settings.count, mixture)


def align_mixture(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], settings: AlignmentSettings,
                  mixture: ClusterSettings, level: int, *, samples: Tensor | None = None,
                  batch: BatchSize | None = None, watchers: Sequence[Watcher] = (),
                  restored: Callable[[str], Packed | None] = lambda part: None) -> MixtureAlignment:
    """Find the modes of `settings.count` samples of `shape` (C, H, W) and average each.

    The samples are drawn from `settings.seed`, or they are the finished latents `samples` (count, C, H, W). Features
    are read and alignments start after `level` of the steps along `sigmas` (S + 1,), falling to 0; the next
    `settings.aligned_steps` are aligned. A run has several parts, "samples", "mode 0", "mode 1" ..., "distances", each
    with a state of its own: `restored` gives what was saved of a part, to go on from. Results do not depend on `batch`
    beyond rounding.

    Raises ValueError for noise levels that do not fall, and where `check_mixture` and `clustering.cluster` do.
    """
    check_falling(sigmas)
    check_mixture(settings, mixture, level, len(sigmas) - 1)
    state = MixtureState(restored)
    batch = choose_batch(batch, shape)
    explored, clusters = drive(modes(denoiser, sigmas, shape, settings, mixture, level, samples, batch, state), state,
                               (Clock(), *watchers))
    averages = state.finished
    latents = tuple(average.latents for average in averages)
    distances = mode_distances(state.current.features, clusters, [len(average) for average in latents])
    records = [
        ModeRecord(count=part.count, share=part.share, effective_count=effective_count(weights).item(), distances=found,
                   steps=average.records, seconds=average.seconds)
        for part, weights, found, average in zip(clusters.shares, clusters.responsibilities.T, distances.tolist(),
                                                 averages)]
    seconds = state.exploration.seconds
    report = MixtureReport(
        settings={**asdict(settings), "sigmas": sigmas.tolist(), "level": level, "mixture": asdict(mixture),
                  "solver_name": type(settings.solver).__name__},
        modes=records, bic=[[count, value] for count, value in clusters.bic], sampling_seconds=seconds,
        seconds=seconds + sum(average.seconds for average in averages) + state.seconds)
    return MixtureAlignment(latents, clusters, explored.samples, report)


def modes(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], settings: AlignmentSettings,
          mixture: ClusterSettings, level: int, samples: Tensor | None, batch: BatchSize,
          state: MixtureState) -> Generator[Event, None, tuple[Explored, Clusters]]:
    """The loop of `align_mixture`."""
    levels = sigmas.tolist()
    if samples is None:
        state.explore(lambda: Exploration.from_noise(denoiser, levels[0], settings.count, shape, settings.seed))
        yield from explore(denoiser, levels, level, batch, state.exploration)
    else:
        state.explore(lambda: Exploration.of_samples(denoiser, samples, levels[level], settings.seed, len(levels) - 1))
        yield from read_pooled(denoiser, state.exploration.at_level, levels[level], batch, state.exploration.reading)
    explored = state.exploration.explored()
    clusters = yield from clustering.fitting(explored.features, mixture)
    yield Event("clusters", 0.0, rows=len(clusters.members))
    for mode, members in enumerate(clusters.members):
        ensemble = Ensemble(explored.latents, clusters.responsibilities[:, mode], members)
        ensemble.check(settings.count, tuple(shape))
        state.align(mode, ensemble)
        yield from trajectories(denoiser, levels[level:], ensemble, settings, batch, state.current)
        state.finished.append(state.current)
    state.measure(clusters.members)
    finished = torch.cat([explored.samples, *(average.latents for average in state.finished)])
    yield from read_pooled(denoiser, finished, levels[-2], batch, state.current)
    return explored, clusters


def mode_distances(features: Tensor, clusters: Clusters, sizes: Sequence[int]) -> Tensor:
    """How far each average has come out from each mode, (C, C) with a row for each average.

    |H(average) - M_c|^2 / |M_c|^2, where M_c is the mean of the features of mode c's samples, weighted by their
    responsibilities. `features` are those of the K samples, followed by those of each average's finished latents, of
    which each has so many, all at the lowest noise level. Several have the mean of their distances.
    """
    weights = clusters.responsibilities / clusters.responsibilities.sum(0)  # (K, C)
    of_samples, *of_averages = in_double(features).split([len(weights), *sizes])
    means = weights.T @ of_samples  # (C, D)
    return torch.stack([((found[:, None] - means).square().sum(2) / means.square().sum(1)).mean(0)
                        for found in of_averages])
