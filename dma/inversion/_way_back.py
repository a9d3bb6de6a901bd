"""From noise down to clean latents, by deterministic sampling or the way back of an inversion.

Latents wait on the CPU in fp32; the model sees micro-batches. Events are of the kind "descend", one for each
micro-batch of each step.
"""
from __future__ import annotations

from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from ..diffusion import Denoiser, at_step, check_finite, rising, start_scale, tell
from ..execution import BatchSize, Event, Watcher, choose_batch, drive
from ._ddim import Ddim
from ._method import WayBack, pointed_at
from ._state import State, joined, rows_of
from ._trajectory import Trajectory, companions_of
from ._velocity import Velocity


def way_back(denoiser: Denoiser, noise: Tensor, trajectory: Trajectory, *, companion: Tensor | None = None,
             batch: BatchSize | None = None, watchers: Sequence[Watcher] = ()) -> Tensor:
    """Clean latents (B, C, H, W) from the noise z of a trajectory, by the trajectory's own levels and method.

    The noise may have been changed since, unless the trajectory carries something for each of its latents.
    companion: what `companions_of` has given for this noise, where it has been asked already.
    Raises ValueError as `companions_of` does, and as `sample_back`.
    """
    companion = companions_of(trajectory, noise) if companion is None else companion
    return drive(descending(denoiser, trajectory.scale * noise, trajectory.levels, trajectory.method, companion,
                            choose_batch(batch, noise.shape[1:])), None, watchers)


def sample_back(denoiser: Denoiser, noise: Tensor, sigmas: Tensor, *, method: WayBack = Ddim(),
                companion: Tensor | None = None, batch: BatchSize | None = None,
                watchers: Sequence[Watcher] = ()) -> Tensor:
    """Clean latents (B, C, H, W), fp32 on the CPU, from noise z at sigmas[0] down to sigmas[-1], (S + 1,).

    companion: what the method carries for each latent besides the latent itself, as a trajectory keeps it.
    Raises ValueError for levels that are not monotone, and, as NotFiniteError that names the step, where the model
    predicts NaN or infinity.
    """
    levels = rising(sigmas)
    return drive(descending(denoiser, start_scale(denoiser, levels[-1]) * noise, levels, method, companion,
                            choose_batch(batch, noise.shape[1:])), None, watchers)


def descending(denoiser: Denoiser, latents: Tensor, levels: Sequence[float], method: WayBack, companion: Tensor | None,
               batch: BatchSize) -> Generator[Event, None, Tensor]:
    """The loop of both, with latents (B, C, H, W) along rising `levels` from the last to the first."""
    velocity, steps = Velocity(denoiser), len(levels) - 1
    state = method.resume(latents.detach().to("cpu", torch.float32), companion)
    for index in range(steps, 0, -1):
        with at_step(steps - index + 1, steps):
            state = yield from step_down(velocity, state, levels, index, method, batch)
    return state[0].float()


def step_down(velocity: Velocity, state: State, levels: Sequence[float], index: int, method: WayBack,
              batch: BatchSize) -> Generator[Event, None, State]:
    """One step of all latents from levels[index] down to levels[index - 1]."""
    def descend(rows: slice) -> State:
        lower = method.descend(velocity.of(rows), rows_of(state, rows), levels, index)
        check_finite(lower[0], "The latents predicted", levels[index])
        return lower

    lower: list[State] = []
    arrived = torch.empty_like(state[0])
    for rows, part in batch.over(len(state[0]), descend):
        lower.append(part)
        clean = pointed_at(method, rows_of(state, rows), part, levels[index], levels[index - 1])
        arrived[rows] = part[0]
        tell(velocity.denoiser, levels[index], levels[index - 1], rows, clean, arrived)
        yield Event("descend", rows.stop - rows.start, rows.stop, len(state[0]), clean=clean[:1])
    return joined(state, lower)
