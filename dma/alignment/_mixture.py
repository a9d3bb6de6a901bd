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
import torch.nn.functional as F
from torch import Tensor

from .. import clustering
from ..clustering import Clusters, ClusterSettings
from ..diffusion import Denoiser, add_noise, salted_seed, starting_noise
from ..execution import BatchSize, Clock, Event, Watcher, choose_batch, drive
from ..models import read_features
from ..precision import in_double
from ..statistics import effective_count
from ._align import ALGORITHM, trajectories
from ._mixture_report import MixtureReport, ModeRecord
from ._mixture_state import Exploration, Explored, MixtureState, Packed, explore
from ._settings import AlignmentSettings
from ._start import Ensemble

# A mixture knows where things are, not what each pixel is; principal components of larger maps would cost gigabytes.
LARGEST_GRID = 8
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
    `settings.aligned_steps` are aligned. A run has several parts, "samples", "mode 0", "mode 1" ..., each with a state
    of its own: `restored` gives what was saved of a part, to go on from. Results do not depend on `batch` beyond
    rounding.

    Raises ValueError where `check_mixture` and `clustering.cluster` do.
    """
    check_mixture(settings, mixture, level, len(sigmas) - 1)
    state = MixtureState(restored)
    batch = choose_batch(batch, shape)
    explored, clusters = drive(modes(denoiser, sigmas, shape, settings, mixture, level, samples, batch, state), state,
                               (Clock(), *watchers))
    averages = state.finished
    latents = tuple(average.latents for average in averages)
    distances = mode_distances(denoiser, sigmas[-2].item(), latents, explored.samples, clusters, batch=batch)
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
        seconds=seconds + sum(average.seconds for average in averages))
    return MixtureAlignment(latents, clusters, explored.samples, report)


def modes(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], settings: AlignmentSettings,
          mixture: ClusterSettings, level: int, samples: Tensor | None, batch: BatchSize,
          state: MixtureState) -> Generator[Event, None, tuple[Explored, Clusters]]:
    """The loop of `align_mixture`."""
    levels = sigmas.tolist()
    if samples is None:
        state.explore(lambda: Exploration.from_noise(denoiser, levels[0], settings.count, shape, settings.seed))
        yield from explore(denoiser, levels, level, batch, state.exploration, read_pooled)
        explored = state.exploration.explored()
    else:
        explored = explore_given(denoiser, levels[level], samples, settings.seed, batch=batch)
    clusters = yield from clustering.fitting(explored.features, mixture)
    yield Event("clusters", 0.0, rows=len(clusters.members))
    for mode, members in enumerate(clusters.members):
        ensemble = Ensemble(explored.latents, clusters.responsibilities[:, mode], members)
        ensemble.check(settings.count, tuple(shape))
        state.align(mode, ensemble)
        yield from trajectories(denoiser, levels[level:], ensemble, settings, batch, state.current)
        state.finished.append(state.current)
    return explored, clusters


def explore_given(denoiser: Denoiser, sigma: float, samples: Tensor, seed: int, *,
                  batch: BatchSize | None = None) -> Explored:
    """Finished latents (K, C, H, W) brought to noise level `sigma`, each by its own noise, and their features there.

    The noise is none that samples of this seed start from: those would get back what they were made of.
    """
    samples = samples.cpu()
    noise = starting_noise(len(samples), tuple(samples.shape[1:]), salted_seed(seed, "given samples"))
    latents = add_noise(denoiser.parametrization, samples, noise, sigma)
    return Explored(samples, latents, read_pooled(denoiser, latents, sigma, choose_batch(batch, samples.shape[1:])))


def read_pooled(denoiser: Denoiser, latents: Tensor, sigma: float, batch: BatchSize) -> Tensor:
    """Features (K, D) of latents (K, C, H, W) on the CPU; maps are averaged over a grid of at most 8 x 8."""
    def pooled(found: Tensor) -> Tensor:
        if found.ndim == 4:
            height, width = found.shape[-2:]
            found = F.adaptive_avg_pool2d(found, (min(LARGEST_GRID, height), min(LARGEST_GRID, width)))
        return found.flatten(1).cpu()

    return torch.cat([pooled(found) for _, found in read_features(denoiser, latents, sigma, batch=batch)])


def mode_distances(denoiser: Denoiser, sigma: float, averages: tuple[Tensor, ...], samples: Tensor, clusters: Clusters,
                   *, batch: BatchSize | None = None) -> Tensor:
    """How far each average has come out from each mode, (C, C) with a row for each average.

    |H(average) - M_c|^2 / |M_c|^2, where M_c is the mean of the features of mode c's samples, weighted by their
    responsibilities. Features are read of finished latents, at the lowest noise level. A mode of several finished
    latents has the mean of their distances.
    """
    batch = choose_batch(batch, samples.shape[1:])
    weights = clusters.responsibilities / clusters.responsibilities.sum(0)  # (K, C)
    means = weights.T @ in_double(read_pooled(denoiser, samples, sigma, batch))  # (C, D)
    rows = []
    for latents in averages:
        found = in_double(read_pooled(denoiser, latents, sigma, batch))  # (keep, D)
        rows.append(((found[:, None] - means).square().sum(2) / means.square().sum(1)).mean(0))
    return torch.stack(rows)
