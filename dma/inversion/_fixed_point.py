"""Implicit inversion by a fixed-point iteration (arXiv 2312.12540)."""
from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..diffusion import Parametrization
from ..execution import Iteration, result_of
from ..solvers import Backtracking, BestRows, anderson_step
from ._method import Ascent, EulerWayBack
from ._norms import row_norms
from ._report import InvertedStep
from ._state import State
from ._velocity import Velocity

# An iterate that misses by so much more than the one before has been led astray by those that it was mixed of.
ASTRAY = 2.0
# At the floor the best residual falls by less than a share in some iterations. Above what the model rounds it may pause
# so, where the iteration is hard or slow, and still lead on.
STALLED_SHARE, STALLED_ITERATIONS = 0.03, 3


@dataclass(frozen=True)
class FixedPoint(EulerWayBack):
    """Implicit inversion: x_t with x_t = g(x_t) = x_s + (sigma_t - sigma_s) d(x_t, sigma_t), by iteration from `Ddim`'s
    answer.

    A latent stops when its residual |g(x_t) - x_t| / |x_s|, what a step back misses, is at most `tolerance`, where it
    has come down to what the model's own rounding leaves, as far as the Denoiser knows it (in half precision that is
    far above the default tolerance, and no correction helps), or after `iterations` corrections; the iterate with the
    smallest residual is returned. An iterate at which the model's answer is not finite is taken back, and half of every
    correction is made from then on.

    history: how many earlier differences Anderson acceleration mixes; 0 is the plain iteration. A latent whose residual
        more than doubles begins its history anew. On the demo model it saves some calls and comes back nearer
        (docs/real_pictures.md); on rougher networks it also solves steps at which the plain iteration does not arrive.
    """

    tolerance: float = 1e-5
    iterations: int = 20
    history: int = 3
    name: ClassVar[str] = "fixed_point"

    def check(self, parametrization: Parametrization) -> None:
        if self.iterations < 0 or self.tolerance < 0 or self.history < 0:
            raise ValueError("The iterations, the tolerance and the history of a fixed-point inversion cannot be "
                             "negative.")

    def ascend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> Ascent:
        return result_of(self.ascending(velocity, state, levels, index))

    def ascending(self, velocity: Velocity, state: State, levels: Sequence[float],
                  index: int) -> Generator[Iteration, None, Ascent]:
        (source,), (s, t) = state, levels[index : index + 2]
        x = source + (t - s) * velocity(source, s, label=t)
        size = row_norms(source)  # (B,)
        rounded = velocity.rounding * row_norms(x - source) / size  # (B,)
        past: list[Tensor] = []  # the best residuals (B,) after each iteration
        best = BestRows(torch.full_like(size, torch.inf), x.clone())
        taken = torch.zeros(len(x), dtype=torch.int64)
        active = torch.arange(len(x))  # rows still iterating
        explicit = x - source
        steps = Backtracking(source, torch.where(explicit.isfinite(), explicit, 0.0))
        iterates, changes = [], []  # (b, C, H, W) each, the latest last
        before, mixed = torch.full_like(size, torch.inf), torch.full_like(active, -1)  # (b,): as active
        for iteration in range(self.iterations + 1):
            change = source[active] + (t - s) * velocity.of(active.tolist())(x, t) - x
            missed = row_norms(change) / size[active]
            best.update(active, missed, x)
            past.append(best.values.clone())
            going = ~((missed <= self.tolerance) | _at_floor(past, rounded)[active])
            if iteration == self.iterations or not going.any():
                break
            mixed = torch.where(missed > ASTRAY * before, 0, mixed + 1)[going]
            active, before = active[going], missed[going]
            steps.keep(going)
            x, change = steps.accepted(x[going], change[going])
            earlier = max(0, len(iterates) - self.history)  # below 0 a slice would begin from the end
            iterates, changes = ([*(part[going] for part in kept[earlier:]), latest]
                                 for kept, latest in ((iterates, x), (changes, change)))
            x = steps.towards(anderson_step(iterates, changes, mixed))
            taken[active] += 1
            yield Iteration(iteration + 1, self.iterations)
        return Ascent(best.items, best.values, taken)


def _at_floor(past: Sequence[Tensor], rounded: Tensor) -> Tensor:
    """Which rows (B,) no longer come nearer, at residuals small enough to be the rounding of the model."""
    latest = past[-1]
    if len(past) <= STALLED_ITERATIONS:
        return torch.zeros_like(latest, dtype=torch.bool)
    return (latest > (1 - STALLED_SHARE) * past[-1 - STALLED_ITERATIONS]) & (latest <= rounded)


def unsolved(steps: Iterable[InvertedStep], tolerance: float) -> tuple[int, int]:
    """How many steps of single latents ended above the tolerance of a fixed-point inversion, and of how many."""
    residuals = [residual for step in steps for residual in step.residual]
    return sum(residual > tolerance for residual in residuals), len(residuals)


def at_floor(steps: Iterable[InvertedStep], method: FixedPoint) -> list[float]:
    """The residuals of those steps of single latents that ended above the tolerance with iterations left: at what the
    rounding of the model leaves."""
    return [residual for step in steps for residual, taken in zip(step.residual, step.iterations)
            if residual > method.tolerance and taken < method.iterations]
