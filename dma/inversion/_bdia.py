"""Algebraically exact inversion: bi-directional integration approximation, BDIA (arXiv 2307.10829).

Every level is reached from the two before it, by a relation that can be solved for either end without asking the model
at a latent that is not known yet. With d_i = d(x_i, sigma_i) and the deterministic step
D(x_i -> j) = x_i + (sigma_j - sigma_i) d_i,

    x_{i-1} = gamma x_{i+1} - gamma D(x_i -> i+1) + D(x_i -> i-1)         down
    x_{i+1} = (x_{i-1} - D(x_i -> i-1)) / gamma + D(x_i -> i+1)           up

The first step up is explicit; what it misses is not lost, because the last two latents are carried along.
At gamma 1 this is the leapfrog rule x_{i+1} = x_{i-1} + (sigma_{i+1} - sigma_{i-1}) d_i, of second order.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..diffusion import Parametrization
from ..precision import in_double
from ._method import Ascent
from ._state import State
from ._velocity import Velocity


@dataclass(frozen=True)
class Bdia:
    """Exact inversion at one model call a step.

    Both latents of the last pair are carried in fp64, in which the relation loses nothing, so that on the way back the
    model is asked at the very latents of the way up. The noise z in fp32 would not do in place of the upper one: a
    model of half precision makes 1e-3 a step of what its rounding disturbs. Below gamma 1 the error of the first step
    grows by 1/gamma a step on the way up. 0.95 suits up to about 100 steps; use 0.98 or more beyond.

    The companion is (B, 2, C, H, W): the highest latent and the one below it.

    EDICT (arXiv 2211.12446) comes back as exactly, but asks the model twice a step.

    Without the step that is carried along, as for an average of several noises, the way back is plain DDIM.
    """

    gamma: float = 0.95
    name: ClassVar[str] = "exact"

    def check(self, parametrization: Parametrization) -> None:
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma of BDIA is {self.gamma}: it must be above 0 and at most 1.")

    def begin(self, clean: Tensor) -> State:
        return (in_double(clean),)

    def companion(self, state: State, clean: Tensor) -> Tensor:
        return torch.stack(state[:2], dim=1)

    def resume(self, latents: Tensor, companion: Tensor | None) -> State:
        """The state at the highest level; where there is a companion, it is all in there, and `latents` are what it is
        found by."""
        if companion is None:
            return (in_double(latents),)
        if companion.ndim != 5:
            raise ValueError("The trajectory carries one latent for each picture, but BDIA takes the last two along: "
                             "it was made by an earlier version, invert the pictures again.")
        return companion[:, 0], companion[:, 1]

    def ascend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> Ascent:
        x, (s, t) = state[0], levels[index : index + 2]
        if len(state) == 1:
            return Ascent((x + (t - s) * velocity(x, s, label=t), x))
        below, slope = state[1], velocity(x, s)
        return Ascent(((below - x - (levels[index - 1] - s) * slope) / self.gamma + x + (t - s) * slope, x))

    def descend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> State:
        x, (s, t) = state[0], (levels[index - 1], levels[index])
        if len(state) == 1:
            return (x + (s - t) * velocity(x, t),)
        if index == len(levels) - 1:
            return state[1], x
        above, slope = state[1], velocity(x, t)
        return self.gamma * (above - x - (levels[index + 1] - t) * slope) + x + (s - t) * slope, x
