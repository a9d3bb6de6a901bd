"""Progressive trajectory alignment: the mental average (arXiv 2603.29239).

K latents are denoised together. At each of the first `aligned_steps` noise levels the mean A of their features H is
taken, every latent is moved until its own features are A, and all take one deterministic step. Afterwards they decode
to one picture.
"""
from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass

from torch import Tensor

from ..diffusion import (
    RESTORED_NOISE_SEED,
    Denoiser,
    at_step,
    check_falling,
    drawing,
    paper_scale,
    restore_noise,
    starting_noise,
    stepping,
)
from ..execution import BatchSize, Clock, Event, Watcher, choose_batch, drive
from ._match import match
from ._report import AlignmentReport
from ._settings import AlignmentSettings
from ._start import Noise, Start
from ._state import State, moments_of, spread_and_norm
from ._target import take_mean

# Part of the key of every saved run. Raise the number when a run of the same settings gives other results than before.
ALGORITHM = "alignment 1"


@dataclass(frozen=True)
class Alignment:
    """Finished latents (keep, C, H, W) and what was measured on the way."""

    latents: Tensor
    report: AlignmentReport


def align(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], settings: AlignmentSettings, *,
          start: Start | None = None, batch: BatchSize | None = None, watchers: Sequence[Watcher] = (),
          state: State | None = None) -> Alignment:
    """Align `settings.count` trajectories of latents of `shape` (C, H, W) along `sigmas` (S + 1,), falling to 0.

    They start from noise of `settings.seed`, or from an `Ensemble` of as many latents. The result does not depend on
    `batch` beyond rounding. Watchers hear of each micro-batch; a `state` that one of them has saved is gone on from.
    Raises ValueError for settings that make no sense and for noise levels that do not fall, and NotFiniteError, a
    ValueError that names the step, where the model gives NaN or infinity.
    """
    check_falling(sigmas)
    settings.check(len(sigmas) - 1)
    start = start or Noise(settings.count, tuple(shape), settings.seed)
    start.check(settings.count, tuple(shape))
    state = state or State(settings.count)
    drive(trajectories(denoiser, sigmas.tolist(), start, settings, choose_batch(batch, shape), state), state,
          (Clock(), *watchers))
    return Alignment(state.latents, state.report({**asdict(settings), "sigmas": sigmas.tolist(),
                                                  "solver_name": type(settings.solver).__name__}))


def trajectories(denoiser: Denoiser, sigmas: Sequence[float], start: Start, settings: AlignmentSettings,
                 batch: BatchSize, state: State) -> Generator[Event, None, None]:
    """The loop of `align`: works on `state` from where it stands to its end."""
    for step in range(state.step, settings.aligned_steps):
        sigma, following = sigmas[step], sigmas[step + 1]
        with at_step(step + 1, len(sigmas) - 1):
            while state.update < settings.target_updates:
                yield from take_mean(denoiser, sigma, start, settings, batch, state)  # A = mean of H(x_k)
                yield from match(denoiser, sigma, settings, batch, state)  # x_k <- argmin |H(x) - A|^2, each alone
            record = state.measured(sigma, paper_scale(denoiser.parametrization, sigma))
            # After the last aligned step nothing depends on the latents that are not returned.
            going = state.latents if step + 1 < settings.aligned_steps else state.latents[: settings.keep]
            # x_k <- x_k + (sigma' - sigma) d(x_k)
            stepped = yield from stepping(denoiser, going, sigma, following, batch)
        state.close_step(record, stepped)
        yield Event("step", 0.0, closes=True)
    if not state.finished:
        if not state.kept:
            state.keep(kept_of(denoiser, sigmas, start, settings, batch, state))
            yield Event("kept", 0.0, changed=True)
        yield from drawing(denoiser, sigmas, batch, state)
        state.close()
        yield Event("finished", 0.0, closes=True)


def kept_of(denoiser: Denoiser, sigmas: Sequence[float], start: Start, settings: AlignmentSettings, batch: BatchSize,
            state: State) -> Tensor:
    """The latents that are sampled to the end, with the noise that averaging took from them given back as asked."""
    if state.latents is None:
        state.latents = start.first(denoiser, sigmas[0], min(settings.keep, start.moving(settings)))
        state.initial_spread, _ = spread_and_norm(moments_of(state.latents),
                                                  paper_scale(denoiser.parametrization, sigmas[0]))
    kept, sigma = state.latents[: settings.keep], sigmas[state.step]
    if not (settings.restored_noise and state.step and sigma > 0):
        return kept
    # Not the seed of the starting noise, whose mean is what the latents have left.
    noise = starting_noise(1, tuple(kept.shape[1:]), settings.seed ^ RESTORED_NOISE_SEED)
    return restore_noise(denoiser, kept, sigma, noise, settings.restored_noise, batch=batch)
