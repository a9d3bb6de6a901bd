"""The problem  min_z |H(z) - A|^2 : move a latent until its features are the target's. What its solvers have in common.

A solver is called as `solver.solve(features, start, target)` and treats every latent of the batch as a problem of its
own, so that results do not depend on how latents are grouped. A latent that is done leaves the batch."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Match:
    """What a solver found. Residuals are |H(z) - A|^2 / |A|^2, one per latent.

    The latents are the best iterates, so `residual_after` never exceeds `residual_before`. Passes are those that the
    latent would need alone: a batch runs them for all its rows, whether or not each of them still needs its gradient.
    """

    latents: Tensor  # (B, ...)
    residual_before: Tensor  # (B,)
    residual_after: Tensor  # (B,)
    iterations: Tensor  # (B,) int64, steps taken
    forwards: Tensor  # (B,) int64, evaluations of H
    backwards: Tensor  # (B,) int64, products with the transposed Jacobian or the Jacobian


class Solver(Protocol):
    """How latents are matched to a target, and how far."""

    iterations: int
    tolerance: float

    def solve(self, features: Features, start: Tensor, target: Tensor) -> Match:
        """Match each latent of `start` (B, ...) to `target`, the features of one latent."""
        ...

    @property
    def most_passes(self) -> tuple[int, int]:
        """The forward and backward passes of a latent that takes all iterations."""
        ...
