"""Averages of the modes of a concept without training: a Gaussian mixture in the semantic space weights the mean.

K latents are sampled plainly. At one noise level on the way, where the modes have parted but details have not been
decided, their features H are read and a mixture is fitted to them. Its responsibilities r weight the mean,

    A_c = sum_k r_kc H(x_k) / sum_k r_kc        for each component c,

and from that level on each mode is aligned as `dma.alignment` aligns a whole concept: members of the mode are moved
until their features are A_c, and sampled to the end. Finished samples from elsewhere are brought to the level by noise.
"""
from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import clustering
from ..clustering import Clusters, ClusterSettings
from ..diffusion import Denoiser, add_noise, initial_latent, starting_noise, step_all
from ..execution import BatchSize, Progress, SavedState
from ..statistics import effective_count
from ._align import SECONDS_BETWEEN_SAVES, align
from ._mixture_report import MixtureReport, ModeRecord
from ._pace import PREDICTION_COST, Plan
from ._settings import AlignmentSettings
from ._start import Ensemble

# A mixture knows where things are, not what each pixel is; principal components of larger maps would cost gigabytes.
LARGEST_GRID = 8


@dataclass(frozen=True)
class MixtureAlignment:
    """What `align_modes` found. Modes are in the order of `clusters`, the largest first."""

    latents: tuple[Tensor, ...]  # of each mode its finished latents (keep, C, H, W), fewer where it has fewer members
    clusters: Clusters  # of the K samples
    samples: Tensor  # (K, C, H, W)
    report: MixtureReport


@dataclass(frozen=True, eq=False)
class Explored:
    """K samples (K, C, H, W), their latents (K, C, H, W) at one noise level, and their features (K, D) there."""

    samples: Tensor
    latents: Tensor
    features: Tensor


def check_mixture(settings: AlignmentSettings, mixture: ClusterSettings, level: int, steps: int) -> None:
    """Raise ValueError with a sentence for the user if modes cannot be found and averaged in this way in `steps`
    steps."""
    if not 0 <= level < steps:
        raise ValueError(f"The mixture is fitted after {level} steps, but there are {steps} steps: choose an earlier "
                         "level.")
    if settings.aligned_steps > steps - level:
        raise ValueError(f"aligned_steps is {settings.aligned_steps}, but after the mixture's level only "
                         f"{steps - level} of {steps} steps are left: lower aligned_steps or choose an earlier level.")
    settings.check(steps - level)
    clustering.check_count(settings.count, mixture)


def align_mixture(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], settings: AlignmentSettings,
                mixture: ClusterSettings, level: int, batch_size: int = 0,
                saved: Callable[[str], SavedState | None] = lambda part: None,
                progress: Callable[[Progress], None] = lambda event: None,
                samples: Tensor | None = None) -> MixtureAlignment:
    """Find the modes of `settings.count` samples of `shape` (C, H, W) and average each.

    The samples are drawn from `settings.seed`, or they are the finished latents `samples` (count, C, H, W). Features
    are read and alignments start after `level` of the steps along `sigmas` (S + 1,), falling to 0; the next
    `settings.aligned_steps` are aligned. `saved` gives a place for the state of each part of the run ("samples",
    "mode 0", "mode 1", ...). Results do not depend on `batch_size` beyond rounding.

    Raises ValueError where `check` and `modes.cluster` do.
    """
    check_mixture(settings, mixture, level, len(sigmas) - 1)
    started = time.monotonic()
    exploring = settings.count * (1 if samples is not None else 1 + PREDICTION_COST * (len(sigmas) - 1))
    moving = min(settings.count, settings.moving)
    averaging = mixture.largest_count * Plan(settings.count, moving, min(settings.keep, moving), settings.aligned_steps,
                                             len(sigmas) - 1 - level, settings.target_updates, settings.solver).total
    share = exploring / (exploring + averaging)

    if samples is None:
        explored = explore(denoiser, sigmas, shape, settings, level, batch_size, saved("samples"),
                           lambda event: progress(dataclasses.replace(event, fraction=share * event.fraction)))
    else:
        explored = explore_given(denoiser, sigmas[level].item(), samples, settings.seed, batch_size)
    clusters = clustering.cluster(explored.features, mixture)
    sampled = time.monotonic()
    averages = []
    for mode, members in enumerate(clusters.members):
        mode_started = time.monotonic()

        def tell(event: Progress) -> None:
            fraction = share + (1 - share) * (mode + event.fraction) / len(clusters.members)
            left = event.seconds_left
            if left is not None:
                # The modes that follow are taken to need what those so far needed, this one included.
                taken = time.monotonic() - mode_started + left + sum(average.report.seconds for average in averages)
                left += (len(clusters.members) - mode - 1) * taken / (mode + 1)
            progress(Progress(fraction, f"mode {mode + 1} of {len(clusters.members)}, {event.message}", event.preview,
                              left))

        ensemble = Ensemble(explored.latents, clusters.responsibilities[:, mode], members)
        averages.append(align(denoiser, sigmas[level:], shape, settings, batch_size, saved(f"mode {mode}"), tell,
                              ensemble))
    latents = tuple(average.latents for average in averages)
    distances = mode_distances(denoiser, sigmas[-2].item(), latents, explored.samples, clusters, batch_size)
    records = [
        ModeRecord(count=part.count, share=part.share, effective_count=effective_count(weights).item(), distances=found,
                   steps=average.report.steps, seconds=average.report.seconds)
        for part, weights, found, average in zip(clusters.shares, clusters.responsibilities.T, distances.tolist(),
                                                 averages)]
    report = MixtureReport(
        settings={**asdict(settings), "sigmas": sigmas.tolist(), "level": level, "mixture": asdict(mixture),
                  "solver_name": type(settings.solver).__name__},
        modes=records, bic=[[count, value] for count, value in clusters.bic], sampling_seconds=sampled - started,
        seconds=time.monotonic() - started)
    return MixtureAlignment(latents, clusters, explored.samples, report)


def explore(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], settings: AlignmentSettings, level: int,
            batch_size: int = 0, saved: SavedState | None = None,
            progress: Callable[[Progress], None] = lambda event: None) -> Explored:
    """Sample `settings.count` latents plainly from `settings.seed` and read their features after `level` steps."""
    steps, count = len(sigmas) - 1, settings.count
    batch = _batch(batch_size, shape)
    found = saved.load() if saved else None
    start = initial_latent(denoiser.parametrization, starting_noise(count, shape, settings.seed), sigmas[0].item())
    tensors, meta = found or ({"latents": start}, {"step": 0})
    last_save = time.monotonic()
    while meta["step"] < steps:
        step = meta["step"]
        sigma, done = sigmas[step].item(), step * count
        if step == level:
            tensors["at_level"] = tensors["latents"].clone()
            tensors["features"] = read_features(denoiser, tensors["latents"], sigma, batch)

        def heard(size: int, denoised: Tensor) -> None:
            nonlocal done
            done += size
            progress(Progress(done / (steps * count), f"sampling {count} latents, step {step + 1} of {steps}",
                              denoised[:1]))

        tensors["latents"] = step_all(denoiser, tensors["latents"], sigma, sigmas[step + 1].item(), batch, heard)
        meta["step"] = step + 1
        if saved and (meta["step"] == steps or time.monotonic() - last_save > SECONDS_BETWEEN_SAVES):
            saved.save(tensors, meta)
            last_save = time.monotonic()
    return Explored(tensors["latents"], tensors["at_level"], tensors["features"])


def explore_given(denoiser: Denoiser, sigma: float, samples: Tensor, seed: int, batch_size: int = 0) -> Explored:
    """Bring finished latents (K, C, H, W) to noise level `sigma`, each by noise of its own, and read their features
    there."""
    noise = starting_noise(len(samples), tuple(samples.shape[1:]), seed)
    latents = add_noise(denoiser.parametrization, samples, noise, sigma)
    return Explored(samples, latents, read_features(denoiser, latents, sigma, _batch(batch_size, samples.shape[1:])))


def read_features(denoiser: Denoiser, latents: Tensor, sigma: float, batch: BatchSize) -> Tensor:
    """Features (K, D) of latents (K, C, H, W) on the CPU; maps are averaged over a grid of at most 8 x 8."""
    def read(rows: slice) -> Tensor:
        with torch.no_grad():
            found = denoiser.features(latents[rows].to(denoiser.device), sigma)
        if found.ndim == 4:
            found = F.adaptive_avg_pool2d(found, [min(LARGEST_GRID, size) for size in found.shape[-2:]])
        return found.flatten(1).cpu()

    return torch.cat([found for _, found in batch.over(len(latents), read)])


def mode_distances(denoiser: Denoiser, sigma: float, averages: tuple[Tensor, ...], samples: Tensor, clusters: Clusters,
                   batch_size: int = 0) -> Tensor:
    """How far each average has come out from each mode, (C, C) with a row for each average.

    |H(average) - M_c|^2 / |M_c|^2, where M_c is the mean of the features of mode c's samples, weighted by their
    responsibilities. Features are read of finished latents, at the lowest noise level. A mode of several finished
    latents has the mean of their distances.
    """
    batch = _batch(batch_size, samples.shape[1:])
    weights = clusters.responsibilities / clusters.responsibilities.sum(0)  # (K, C)
    means = weights.T @ read_features(denoiser, samples, sigma, batch).double()  # (C, D)
    rows = []
    for latents in averages:
        found = read_features(denoiser, latents, sigma, batch).double()  # (keep, D)
        rows.append(((found[:, None] - means).square().sum(2) / means.square().sum(1)).mean(0))
    return torch.stack(rows)


def _batch(batch_size: int, shape: tuple[int, ...]) -> BatchSize:
    return BatchSize(batch_size) if batch_size else BatchSize.automatic(torch.Size(shape).numel())
