"""From noise down to clean latents, by deterministic sampling or the way back of an inversion.

Latents wait on the CPU in fp32; the model sees micro-batches. Events are of the kind "descend", one for each
micro-batch of each step.
"""
from __future__ import annotations

from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from ..diffusion import Denoiser, clean_estimate, initial_latent, rising
from ..execution import BatchSize, Event, Watcher, choose_batch, drive
from ._ddim import Ddim
from ._method import WayBack
from ._state import State, joined, rows_of
from ._trajectory import Trajectory, check_fit
from ._velocity import Velocity


def way_back(denoiser: Denoiser, noise: Tensor, trajectory: Trajectory, *, batch: BatchSize | None = None,
             watchers: Sequence[Watcher] = ()) -> Tensor:
    """Clean latents (B, C, H, W) from the noise z of a trajectory, by the trajectory's own levels and method.

    The noise may have been changed since. Raises ValueError as `check_fit` does.
    """
    check_fit(trajectory, noise)
    return drive(descending(denoiser, noise, trajectory.levels, trajectory.method, trajectory.companion,
                            choose_batch(batch, noise.shape[1:])), None, watchers)


def sample_back(denoiser: Denoiser, noise: Tensor, sigmas: Tensor, *, method: WayBack = Ddim(),
                companion: Tensor | None = None, batch: BatchSize | None = None,
                watchers: Sequence[Watcher] = ()) -> Tensor:
    """Clean latents (B, C, H, W), fp32 on the CPU, from noise z at sigmas[0] down to sigmas[-1], (S + 1,).

    companion: what the method carries for each latent besides the latent itself, as a trajectory keeps it.
    Raises ValueError for levels that are not monotone.
    """
    return drive(descending(denoiser, noise, rising(sigmas), method, companion, choose_batch(batch, noise.shape[1:])),
                 None, watchers)


def descending(denoiser: Denoiser, noise: Tensor, levels: Sequence[float], method: WayBack, companion: Tensor | None,
               batch: BatchSize) -> Generator[Event, None, Tensor]:
    """The loop of both, along rising `levels` from the last to the first."""
    velocity = Velocity(denoiser)
    state = method.resume(initial_latent(denoiser.parametrization, noise.detach().to("cpu", torch.float32),
                                         levels[-1]), companion)
    for index in range(len(levels) - 1, 0, -1):
        state = yield from step_down(velocity, state, levels, index, method, batch)
    return state[0].float()


def step_down(velocity: Velocity, state: State, levels: Sequence[float], index: int, method: WayBack,
              batch: BatchSize) -> Generator[Event, None, State]:
    """One step of all latents from levels[index] down to levels[index - 1]."""
    def descend(rows: slice) -> State:
        return method.descend(velocity.of(rows), rows_of(state, rows), levels, index)

    lower: list[State] = []
    for rows, part in batch.over(len(state[0]), descend):
        lower.append(part)
        clean = clean_estimate(state[0][rows][:1], part[0][:1], levels[index], levels[index - 1])
        yield Event("descend", rows.stop - rows.start, rows.stop, len(state[0]), clean=clean)
    return joined(state, lower)
