"""Stochastic reconstruction (arXiv 2506.01912): pictures that a network represents as it does others.

At each of the falling noise levels of a representation, whose features there are A, every latent is noised afresh,
moved until its own features are A, and denoised:

    y_k <- add_noise(x_k, eps_k, sigma)
    y_k <- argmin |H(y) - A|^2, from y_k, until a share of the first distance is left
    x_k <- D(y_k, sigma)

from x_k = 0. Each latent has noise of its own, so that the pictures share what the features hold and differ in the
rest: with means over space, in layout. A may be a mean over several pictures (`centroid`), what they have in common:
a rival of the mental average, with which it shares matching, but neither a common way down the noise levels nor a
target that is made of the latents themselves.

The paper moves pictures in [0, 1] by Adam, at a rate of 0.01, in at most 100 steps, to 1 % of the first squared
difference, at 100 levels; its noise ends at a standard deviation of 0.03. Here latents move in the papers' units z.
"""
from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field, replace

import torch
from torch import Tensor

from ..diffusion import (
    Denoiser,
    add_noise,
    at_step,
    check_finite,
    paper_scale,
    salted_seed,
    starting_noise,
)
from ..execution import BatchSize, Clock, Event, Watcher, choose_batch, drive, retold
from ..models import fingerprint, pooled
from ..solvers import AdamToShare, Begun, Features, Iterate, Solver, iterates_of
from ._centroid import centroid, distances_to
from ._channel_means import Reading, reading_means
from ._reconstruction_report import ReconstructionReport
from ._reconstruction_state import ReconstructionState
from ._representation import Representation

# Part of the key of every saved run. Raise the number when one of the same settings gives other pictures than before.
RECONSTRUCTION_ALGORITHM = "reconstruction 2"


@dataclass(frozen=True)
class ReconstructionSettings:
    """K pictures from the noise of `seed`, matched by `solver` in the papers' units.

    channels: how many channels count, at each level those whose target is largest; 0: all.
    """

    count: int = 4
    seed: int = 0
    channels: int = 0
    solver: Solver = field(default_factory=lambda: AdamToShare(learning_rate=2e-2, iterations=100, share=0.01))

    def check(self, target: Representation) -> None:
        """Raise ValueError with a sentence for the user unless a representation can be reconstructed with these."""
        width = target.means.shape[2]
        if self.count < 1:
            raise ValueError(f"count is {self.count}: at least 1 picture is needed.")
        if not 0 <= self.channels <= width:
            raise ValueError(f"channels is {self.channels}, but this representation has {width}: choose from 1 to "
                             f"{width}, or 0 for all of them.")
        falls = all(high > low for high, low in zip(target.sigmas, target.sigmas[1:]))
        if not falls or not all(0 < sigma < math.inf for sigma in target.sigmas):
            raise ValueError("A picture is reconstructed at falling noise levels above 0, but this representation was "
                             f"read at {', '.join(f'{sigma:.4g}' for sigma in target.sigmas)}. Read it at others.")
        if not target.means.flatten(2).any(2).all():
            raise ValueError("This representation is 0 at one of its noise levels: there is nothing to match.")

    def reading(self, target: Representation) -> Reading:
        """How the finished latents are read: as the target was."""
        return Reading(target.draws, target.seed, target.pooling)

    def written(self, target: Representation) -> dict:
        """What reports and keys name: these settings, and those that the target was read with."""
        return {**asdict(self), "solver_name": type(self.solver).__name__, "layer": target.layer,
                "pooling": target.pooling, "sigmas": list(target.sigmas), "draws": target.draws,
                "reading_seed": target.seed}


@dataclass(frozen=True)
class Reconstruction:
    """What `reconstruct` found.

    latents: the finished pictures (K, C, H, W). found: what the network represents of them, read as the target was.
    target: the representation of one latent that they were matched to.
    """

    latents: Tensor
    found: Representation
    target: Representation
    report: ReconstructionReport


def reconstruct(denoiser: Denoiser, sources: Representation,
                settings: ReconstructionSettings = ReconstructionSettings(), *,
                weights: Sequence[float] | None = None, tolerance: float = 1e-5, batch: BatchSize | None = None,
                watchers: Sequence[Watcher] = (), state: ReconstructionState | None = None) -> Reconstruction:
    """Pictures whose representation is that of one latent, or the weighted mean of those of several.

    denoiser: the one that `sources` was read with, at its layer. The noise levels are those of `sources`; the lower the
    last one, the more detail is drawn. weights: of the sources, as for `centroid`. tolerance: how far apart answers of
    one model may be, relative to them (see `Representation.is_of`). A picture depends neither on `batch`, beyond
    rounding, nor on how many there are.

    Events are "match" after each iteration and each micro-batch, "level" after each noise level, and "read" and "level"
    as in `channel_means` while the finished latents are read.

    Raises ValueError for settings that make no sense and for representations of another model, prompt or layer, before
    work starts, and NotFiniteError, which names the level, where the model comes to NaN or infinity.
    """
    target = centroid(sources, weights)
    settings.check(target)
    _check_model(denoiser, target, tolerance)
    state = state or ReconstructionState()
    drive(reconstructing(denoiser, target, settings, choose_batch(batch, target.shape), state), state,
          (Clock(), *watchers))
    found = replace(target, means=state.means.means(target.layer, settings.reading(target), target.sigmas))
    kept = [row for row in range(len(sources)) if weights is None or weights[row] > 0]
    report = ReconstructionReport(settings.written(target), list(state.records), distances_to(found, target),
                                  distances_to(sources.of(kept), target), state.seconds)
    return Reconstruction(state.latents, found, target, report)


def reconstructing(denoiser: Denoiser, target: Representation, settings: ReconstructionSettings, batch: BatchSize,
                   state: ReconstructionState) -> Generator[Event, None, None]:
    """The loop of `reconstruct`: works on `state` from where it stands to its end."""
    levels = len(target.sigmas)
    for level in range(len(state.records), levels):
        with at_step(level + 1, levels):
            yield from match_level(denoiser, target, level, settings, batch, state)
        state.close_level(target.sigmas[level])
        yield Event("level", 0.0, closes=True)
    yield from reading_means(denoiser, state.latents, target.sigmas, (target.layer,), settings.reading(target), batch,
                             state.means, named=False)


def match_level(denoiser: Denoiser, target: Representation, level: int, settings: ReconstructionSettings,
                batch: BatchSize, state: ReconstructionState) -> Generator[Event, None, None]:
    """Noise, match and denoise every latent that has not been yet at one of the noise levels."""
    sigma, count = target.sigmas[level], settings.count
    scale = paper_scale(denoiser.parametrization, sigma)
    wanted = target.means[0, level]  # (C, ...)
    kept = strongest(wanted, settings.channels)
    features = matched_features(denoiser, sigma, scale, target.pooling, kept.to(denoiser.device))
    goal = wanted[kept].to(denoiser.device)  # (k, ...)
    # Neither the noise that the target was read with nor that of samples.
    noise = starting_noise(count, target.shape, salted_seed(settings.seed, f"reconstruction {level}"))
    if not state.tally:
        state.open_level(torch.zeros(count, *target.shape))

    def move(rows: slice) -> Generator[Event, None, None]:
        noisy = add_noise(denoiser.parametrization, state.latents[rows], noise[rows], sigma).to(denoiser.device)
        begun = state.begun(rows)
        iterates = iterates_of(settings.solver, features, noisy * scale, goal, begun.memory if begun else None)
        taken = begun.iterations if begun else 0

        def tell(iterate: Iterate) -> Event:
            nonlocal taken
            before, taken = taken, int(iterate.iterations.sum())
            state.under_way = Begun(rows.start, rows.stop, taken, iterate.memory)
            return iterate.event("match", rows, count, amount=taken - before,
                                 value=iterate.residual.mean().sqrt().item(), changed=True)

        found = yield from retold(iterates, tell)
        check_finite(found.residual_after, "The features of latents that are matched", sigma)
        state.take(rows, check_finite(denoiser.denoise(found.latents / scale, sigma), "Predictions", sigma), found)
        distance = state.tally["residual_after"][: rows.stop].mean().sqrt().item()
        yield Event("match", found.iterations.sum().item() - taken, rows.stop, count, value=distance,
                    clean=state.latents[:1].clone(), changed=True)

    size = state.under_way.stop - state.under_way.start if state.under_way else None
    yield from batch.through(count, move, first=state.matched, size=size)


def strongest(wanted: Tensor, channels: int) -> Tensor:
    """The numbers (k,), rising, of the channels of a target (C, ...) whose mean square is largest; all for 0.

    >>> strongest(torch.tensor([1.0, -3.0, 0.5, 2.0]), 2).tolist()
    [1, 3]
    """
    energy = wanted.flatten(1).square().mean(1) if wanted.ndim > 1 else wanted.square()  # (C,)
    return energy.topk(channels or len(energy)).indices.sort().values


def matched_features(denoiser: Denoiser, sigma: float, scale: float, pooling: str, kept: Tensor) -> Features:
    """z (B, C, H, W) in the papers' units -> the pooled features (B, k, ...) of the channels that count,
    differentiable."""
    return lambda z: pooled(denoiser.features(z / scale, sigma), pooling)[:, kept]


def _check_model(denoiser: Denoiser, target: Representation, tolerance: float) -> None:
    """Raise ValueError unless the target was read with this denoiser, at its layer as far as its width tells."""
    if not target.is_of(fingerprint(denoiser, target.sigmas, target.shape), tolerance):
        raise ValueError("This representation was read from another model, or under another prompt, than the one that "
                         "is to draw: the distance between the two means nothing.")
    with torch.no_grad():
        noise = target.sigmas[0] * starting_noise(1, target.shape, seed=0).to(denoiser.device)
        here = tuple(pooled(denoiser.features(noise, target.sigmas[0]), target.pooling).shape[1:])
    there = tuple(target.means.shape[2:])
    if here != there:
        raise ValueError(f"This representation has features of the shape {there}, but the layer that is read now has "
                         f"{here}: it was read at another layer.")
