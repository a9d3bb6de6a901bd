"""Deterministic inversion: from a clean latent up to the noise that deterministic sampling turns into it, and back.

Methods, all for eps, v and flow models unless they say otherwise:

  inversion_methods.Ddim         explicit: the velocity at the lower latent (arXiv 2010.02502)
  inversion_methods.FixedPoint   solves for the upper latent by iteration (arXiv 2312.12540)
  exact_inversion.Bdia           a pair of latents that is taken back exactly (arXiv 2307.10829)
  flow_inversion                 midpoint solvers and RF-Inversion
  null_text                      the way back at high guidance, from an inversion at guidance 1

Negative-prompt inversion (arXiv 2305.16807) needs no code of its own: invert at guidance 1, and sample with the source
prompt as the negative prompt. Latents wait on the CPU in fp32; the model sees micro-batches.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from ..diffusion import Denoiser, clean_estimate, initial_latent, noise_of, rising, shell_norm
from ..execution import BatchSize, Progress
from ._ddim import Ddim
from ._method import Ascent, Method, State, WayBack, row_norms
from ._report import InversionReport, InvertedStep, round_trip_error
from ._trajectory import Trajectory, check_fit
from ._velocity import Velocity

# What a measured run spends on going up; the rest is the round trip. It only steers the progress bar.
SHARE_OF_ASCENT = 0.6


@dataclass(frozen=True)
class Inversion:
    trajectory: Trajectory
    report: InversionReport


def invert(denoiser: Denoiser, clean: Tensor, sigmas: Tensor, method: Method = Ddim(), batch: BatchSize | None = None,
           measure: bool = True, progress: Callable[[Progress], None] = lambda event: None) -> Inversion:
    """Take clean latents (B, C, H, W) up the noise levels `sigmas` (S + 1), given rising or falling.

    With `measure` the report also holds each step's residual (how far a step back from the new latent alone, without
    what the method carries along, misses the old one, relative to the old one's norm) and the error of the whole round
    trip, at up to three times the model calls.
    Raises ValueError for latents that are empty or not finite, for levels that are not monotone, and where the method
    does not fit the model.
    """
    levels, started = list(rising(sigmas)), time.monotonic()
    method.check(denoiser.parametrization)
    if len(clean) == 0 or not torch.isfinite(clean).all():
        raise ValueError("There is no latent to invert, or it contains NaN or infinity: connect a finished latent, "
                         "such as an encoded picture.")
    clean = clean.detach().to("cpu", torch.float32)
    batch = batch or BatchSize.automatic(clean[0].numel())
    velocity, unmeasured = Velocity(denoiser), Velocity(denoiser)
    state, latents, records = method.begin(clean), [clean], []
    steps, share = len(levels) - 1, SHARE_OF_ASCENT if measure else 1.0
    for index in range(steps):
        def ascend(rows: slice) -> Ascent:
            before = tuple(item[rows] for item in state)
            ascent = method.ascend(velocity, before, levels, index)
            if measure and ascent.residual is None:
                returned = method.descend(unmeasured, method.resume(ascent.state[0], None), levels, index + 1)[0]
                ascent = replace(ascent, residual=row_norms(returned - before[0]) / row_norms(before[0]))
            return ascent

        ascents = []
        for rows, ascent in batch.over(len(clean), ascend):
            ascents.append(ascent)
            preview = clean_estimate(state[0][rows][:1], ascent.state[0][:1], levels[index], levels[index + 1])
            done = (index + rows.stop / len(clean)) / steps
            progress(Progress(share * done, f"inverting, step {index + 1} of {steps}", preview))
        state = _joined(state, [ascent.state for ascent in ascents])
        latents.append(state[0].float())
        records.append(_record(ascents, levels[index + 1],
                               noise_of(denoiser.parametrization, latents[-1], levels[index + 1])))
    trajectory = Trajectory(torch.stack(latents), tuple(levels), denoiser.parametrization, method,
                            method.companion(state, clean))
    round_trip = None
    if measure:
        restored = way_back(denoiser, trajectory.noise, trajectory, batch,
                            lambda event: progress(replace(event, fraction=share + (1 - share) * event.fraction)))
        round_trip = round_trip_error(clean, restored)
    settings = {"method": method.name, **asdict(method), "count": len(clean), "sigmas": levels}
    seconds = time.monotonic() - started
    return Inversion(trajectory, InversionReport(settings, records, round_trip, velocity.calls / len(clean), seconds))


def way_back(denoiser: Denoiser, noise: Tensor, trajectory: Trajectory, batch: BatchSize | None = None,
             progress: Callable[[Progress], None] = lambda event: None) -> Tensor:
    """Clean latents (B, C, H, W) from the noise z of a trajectory, by the trajectory's own levels and method.

    The noise may have been changed since. Raises ValueError as `check_fit` does.
    """
    check_fit(trajectory, noise)
    return sample_back(denoiser, noise, trajectory.sigmas, trajectory.method, trajectory.companion, batch, progress)


def sample_back(denoiser: Denoiser, noise: Tensor, sigmas: tuple[float, ...], method: WayBack = Ddim(),
                companion: Tensor | None = None, batch: BatchSize | None = None,
                progress: Callable[[Progress], None] = lambda event: None) -> Tensor:
    """Clean latents (B, C, H, W), fp32 on the CPU, from noise z at sigmas[-1] down to sigmas[0] (given rising)."""
    levels, steps, velocity = list(sigmas), len(sigmas) - 1, Velocity(denoiser)
    noise = noise.detach().to("cpu", torch.float32)
    batch = batch or BatchSize.automatic(noise[0].numel())
    state = method.resume(initial_latent(denoiser.parametrization, noise, levels[-1]), companion)
    for index in range(steps, 0, -1):
        def descend(rows: slice) -> State:
            return method.descend(velocity, tuple(item[rows] for item in state), levels, index)

        finished = []
        for rows, lower in batch.over(len(noise), descend):
            finished.append(lower)
            preview = clean_estimate(state[0][rows][:1], lower[0][:1], levels[index], levels[index - 1])
            done = (steps - index + rows.stop / len(noise)) / steps
            progress(Progress(done, f"sampling, step {steps - index + 1} of {steps}", preview))
        state = _joined(state, finished)
    return state[0].float()


def _joined(before: State, parts: list[State]) -> State:
    # What a method only reads comes back as views of what it was given, and may be large: it is not copied.
    kept = [len(before) > place and item.data_ptr() == before[place].data_ptr() for place, item in enumerate(parts[0])]
    return tuple(before[place] if keep else torch.cat([part[place] for part in parts])
                 for place, keep in enumerate(kept))


def _record(ascents: list[Ascent], sigma: float, noise: Tensor) -> InvertedStep:
    def joined(parts: list[Tensor | None]) -> list:
        return [value for part in parts if part is not None for value in part.tolist()]

    return InvertedStep(sigma, joined([ascent.residual for ascent in ascents]),
                        joined([ascent.iterations for ascent in ascents]),
                        (row_norms(noise) / shell_norm(noise)).tolist())
