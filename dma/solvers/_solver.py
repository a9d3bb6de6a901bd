"""The problem  min_z |H(z) - A|^2 : move a latent until its features are the target's. What its solvers have in common.

A solver is called as `solver.solve(features, start, target)` and treats every latent of the batch as a problem of its
own, so that results do not depend on how latents are grouped. A latent that is done leaves the batch."""
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from ..execution import Iteration

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


@dataclass(frozen=True)
class Iterate(Iteration):
    """Where a solver stands after an iteration. All are copies, which later iterations do not touch.

    latents: the best iterate of each latent so far (B, ...). residual: of each (B,). iterations: steps taken by each
    (B,). memory: all that the solver needs to go on from here.
    """

    latents: Tensor
    residual: Tensor
    iterations: Tensor
    memory: dict[str, Tensor]


@dataclass(frozen=True)
class Begun:
    """Latents of the rows `start` to `stop` that are being matched: the `iterations` that they have taken together, and
    the `memory` with which their solver goes on."""

    start: int
    stop: int
    iterations: int
    memory: dict[str, Tensor]


@dataclass(frozen=True)
class PastMatch:
    """What an earlier match came to, with one number for each of its latents."""

    residual_before: Sequence[float]
    residual_after: Sequence[float]
    iterations: Sequence[int]


class Solver(Protocol):
    """How latents are matched to a target, and how far: all that a loop needs of a solver.

    A solver that is a frozen dataclass of plain numbers can be written into reports and keys of saved states as well.
    """

    def solve(self, features: Features, start: Tensor, target: Tensor) -> Match:
        """Match each latent of `start` (B, ...) to `target`, the features of one latent."""
        ...

    @property
    def most_passes(self) -> tuple[int, int]:
        """The forward and backward passes of a latent that takes all iterations."""
        ...

    def expected_iterations(self, past: Sequence[PastMatch], residual: float, steps: int) -> float:
        """Iterations per latent to be expected of `steps` matches to come, for the time that is left.

        `past` are the matches so far, one for each noise level and at least one; the next one starts from the mean
        residual `residual`.
        """
        ...


@runtime_checkable
class IterativeSolver(Solver, Protocol):
    """A solver that tells of every iteration."""

    def iterates(self, features: Features, start: Tensor, target: Tensor,
                 memory: dict[str, Tensor] | None = None) -> Generator[Iterate, None, Match]:
        """`solve`, telling of every iteration. With the memory of an iterate of a call with the same arguments it goes
        on from there, and comes to the same to the last bit."""
        ...


def iterates_of(solver: Solver, features: Features, start: Tensor, target: Tensor,
                memory: dict[str, Tensor] | None = None) -> Generator[Iterate, None, Match]:
    """The iterates of any solver; none of one that does not tell of them."""
    if isinstance(solver, IterativeSolver):
        return (yield from solver.iterates(features, start, target, memory))
    return solver.solve(features, start, target)
