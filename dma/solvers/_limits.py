"""Where the solvers of this room end, and what follows from it."""
from __future__ import annotations

from collections.abc import Generator, Sequence

from torch import Tensor

from ..execution import result_of
from ._expectation import iterations_ahead
from ._solver import Features, Iterate, Match, PastMatch


class Limits:
    """What solvers have in common that end after `iterations`, at `tolerance`, or on a plateau (see `Tracker`).

    A solver is a frozen dataclass with these four fields. Raises ValueError for values that make no sense.
    """

    iterations: int
    tolerance: float
    plateau: float
    patience: int

    def __post_init__(self) -> None:
        refuse_unless(self.iterations >= 0, "iterations", self.iterations, "0 measures only, and more match")
        refuse_unless(self.tolerance >= 0, "tolerance", self.tolerance, "a residual is never negative")
        refuse_unless(0 <= self.plateau <= 1, "plateau", self.plateau, "it is a share between 0 and 1")
        refuse_unless(self.patience >= 1, "patience", self.patience, "at least 1 evaluation has to be waited for")

    def solve(self, features: Features, start: Tensor, target: Tensor) -> Match:
        """Match each latent of `start` (B, ...) to `target`, the features of one latent."""
        return result_of(self.iterates(features, start, target))

    def iterates(self, features: Features, start: Tensor, target: Tensor,
                 memory: dict[str, Tensor] | None = None) -> Generator[Iterate, None, Match]:
        """`solve`, telling of every iteration (see `IterativeSolver`)."""
        raise NotImplementedError

    def expected_iterations(self, past: Sequence[PastMatch], residual: float, steps: int) -> float:
        """Iterations per latent to be expected of `steps` matches after those in `past` (see `iterations_ahead`)."""
        return iterations_ahead(past, residual, steps, iterations=self.iterations, tolerance=self.tolerance,
                                plateau=self.plateau)


def refuse_unless(sensible: bool, name: str, value: float, reason: str) -> None:
    """Raise ValueError with a sentence for the user unless an option of a solver is `sensible`; a NaN never is.

    >>> refuse_unless(2 >= 1, "memory", 2, "at least 1 pair is needed")
    """
    if not sensible:
        raise ValueError(f"The solver's {name} cannot be {value}: {reason}.")
