"""The choices of a family tree of modes that its result depends on."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..diffusion import Parametrization

# Where modes part: measured on the demo models, whose latents have a side of 8.
HIGHEST, RANGE, SIDE = 2.0, 3.0, 8


@dataclass(frozen=True)
class TreeSettings:
    """The choices of a family tree of modes that its result depends on.

    steps: the steps of the schedule at whose noise levels modes are looked for, in any order. count: K, the noises that
    all samples share at a level, an even number. iterations: the most that a sample moves at one level.
    """

    steps: tuple[int, ...] = (4, 6, 8, 10, 12)
    count: int = 16
    iterations: int = 30
    seed: int = 0

    def check(self, samples: int, steps: int) -> None:
        """Raise ValueError if these settings make no sense for so many samples and a schedule of so many steps."""
        if samples < 2:
            raise ValueError(f"A family tree needs at least two samples, but there is {samples}.")
        if not self.steps or len(set(self.steps)) < len(self.steps):
            raise ValueError(f"The steps {list(self.steps)} are to be one or more, and all different.")
        if min(self.steps) < 0 or max(self.steps) >= steps:
            raise ValueError(f"The steps {list(self.steps)} must lie between 0 and {steps - 1}, the last of {steps} "
                             "steps.")
        if self.count < 2 or self.count % 2:
            raise ValueError(f"count is {self.count}: noises come in pairs of both signs, at least 2 noises (16 is a "
                             "good start).")
        if self.iterations < 3:
            raise ValueError(f"iterations is {self.iterations}: whether a sample stands still shows after 3 at the "
                             "earliest.")


def spread_steps(count: int, sigmas: Sequence[float], parametrization: Parametrization,
                 shape: tuple[int, ...]) -> tuple[int, ...]:
    """The steps along `sigmas` (S + 1,), at most `count` of them, whose noise parts the modes of pictures in latents of
    `shape` (C, H, W): in equal ratios over a factor of `RANGE`.

    What pictures are as a whole stands in all of a latent's places, so that it drowns at a noise that grows with the
    side of the latent; the highest level is at `HIGHEST` for a side of `SIDE`, and at most at the schedule's second.
    Noise is measured beside what it is added to.

    Raises ValueError if no level is asked for.

    >>> spread_steps(3, [16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.0], Parametrization.EPS, (4, 8, 8))
    (3, 4, 5)
    """
    if count < 1:
        raise ValueError(f"A family tree needs at least one level, but {count} are asked for.")
    noises = [noise_ratio(sigma, parametrization) for sigma in sigmas[:-1]]
    highest = min(parting_noise(shape), second_noise(noises))
    wanted = [highest * RANGE ** -(index / max(1, count - 1)) for index in range(count)]
    return tuple(sorted({min(range(len(noises)), key=lambda step: abs(math.log(noises[step] / noise)))
                         for noise in wanted}))


def spread_shortfall(count: int, sigmas: Sequence[float], parametrization: Parametrization,
                     shape: tuple[int, ...]) -> str | None:
    """In what the levels of `spread_steps` are not those that were asked for, in sentences; None where they are.

    Large latents part their modes at more noise than some schedules have, and schedules have few steps at much noise.

    >>> levels = [16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.0]
    >>> spread_shortfall(3, levels, Parametrization.EPS, (4, 8, 8)) is None
    True
    >>> print(spread_shortfall(5, levels, Parametrization.EPS, (4, 8, 8)))
    Only 3 of 5 levels: from noise 2 down to 0.667 the schedule has no more steps.
    """
    steps = spread_steps(count, sigmas, parametrization, shape)
    noises = [noise_ratio(sigma, parametrization) for sigma in sigmas[:-1]]
    wanted, second = parting_noise(shape), second_noise(noises)
    highest, told = min(wanted, second), []
    if wanted > second:
        told.append(f"In latents of {shape[-1]} x {shape[-2]} modes are expected to part at noise {wanted:.3g} and "
                    f"less, but the schedule's second step is at {second:.3g}: the levels begin there.")
    if len(steps) < count:
        told.append(f"Only {len(steps)} of {count} levels: from noise {highest:.3g} down to {highest / RANGE:.3g} the "
                    "schedule has no more steps.")
    return " ".join(told) or None


def second_noise(noises: Sequence[float]) -> float:
    """The noise of a schedule's second step, below which levels begin: at the first there may be nothing but noise."""
    return noises[min(1, len(noises) - 1)]


def parting_noise(shape: tuple[int, ...]) -> float:
    """The most noise at which pictures in latents of `shape` (C, H, W) are expected to have modes."""
    return HIGHEST * math.sqrt(shape[-1] * shape[-2]) / SIDE


def noise_ratio(sigma: float, parametrization: Parametrization) -> float:
    """How strong noise is beside the clean latent that it is added to."""
    if parametrization is not Parametrization.FLOW:
        return sigma
    return sigma / (1 - sigma) if sigma < 1 else math.inf
