"""Streaming mean of values whose noises come in pairs, with the error that pairs leave."""
from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..named_tensors import below, under
from ..precision import in_double
from ._moments import LOOK_AFTER, RunningMoments


@dataclass
class PairedMoments:
    """Mean and variance of rows, and the standard error of their mean where rows 2 j and 2 j + 1 are not independent.

    Pairs are independent of each other, so that the error of the mean is that of the mean of pairs' means. A last row
    without its partner counts in the mean like any other, and brings all of a single row's variance into the error.

    >>> moments = PairedMoments()
    >>> moments.update(torch.tensor([[1.0], [3.0], [0.0]])); moments.update(torch.tensor([[4.0]]))
    >>> moments.mean.item(), moments.standard_error
    (2.0, 0.0)
    """

    rows: RunningMoments = field(default_factory=RunningMoments)
    pairs: RunningMoments = field(default_factory=RunningMoments)
    waiting: Tensor = field(default_factory=lambda: torch.zeros(0))  # the row (1, ...) whose partner has not come

    def update(self, rows: Tensor) -> None:
        """Add rows (B, ...), in their order."""
        self.rows.update(rows)
        rows = in_double(rows)
        if len(self.waiting):
            rows = torch.cat([self.waiting, rows])
        complete = len(rows) // 2
        if complete:
            self.pairs.update((rows[0 : 2 * complete : 2] + rows[1 : 2 * complete : 2]) / 2)
        self.waiting = rows[2 * complete :].clone()

    def merge(self, other: PairedMoments) -> None:
        """Add the rows that another has seen after these, as if they had been seen here.

        Raises ValueError where a row here waits for its partner, which would be the other's first.
        """
        if len(self.waiting):
            raise ValueError("Moments of pairs can be merged with later ones only after whole pairs, but the last row "
                             "of these waits for its partner.")
        self.rows.merge(other.rows)
        self.pairs.merge(other.pairs)
        self.waiting = other.waiting

    @property
    def count(self) -> int:
        return self.rows.count

    @property
    def mean(self) -> Tensor:
        return self.rows.mean

    @property
    def variance(self) -> Tensor:
        """Unbiased variance of single rows, whatever those of a pair have to do with each other; NaN with fewer than 2.

        Squared deviations D from the mean fall short of K s^2 by K times the variance of the mean, and that is
        (4 J p^2 + r s^2) / K^2 with J whole pairs, p^2 the variance of a pair's mean and r = 1 where a last row waits
        for its partner, else 0. So

            s^2 = (D + 4 J p^2 / K) / (K - r / K)

        p^2 is known from two pairs on. With fewer rows are taken for independent, which is too large by up to
        K / (K - 1) where pairs cancel.
        """
        if self.pairs.count < 2:
            return self.rows.variance
        explained = 4 * self.pairs.count * self.pairs.variance / self.count
        return (self.rows.deviations + explained) / (self.count - len(self.waiting) / self.count)

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean, as a norm relative to the mean's; None with fewer than two pairs."""
        if self.pairs.count < 2:
            return None
        variance = self.pairs.variance.sum() / self.pairs.count * (2 * self.pairs.count / self.count) ** 2
        if len(self.waiting):
            variance = variance + self.rows.variance.sum() / self.count**2
        return variance.sqrt().item() / max(self.mean.norm().item(), 1e-30)

    def is_certain(self, mean_error: float) -> bool:
        """Whether the standard error is known and at most `mean_error`, as `RunningMoments` says it."""
        if mean_error <= 0 or self.count % LOOK_AFTER:
            return False
        error = self.standard_error
        return error is not None and error <= mean_error

    def packed(self) -> tuple[dict[str, Tensor], dict[str, list]]:
        """Tensors and numbers to be saved."""
        tensors: dict[str, Tensor] = {}
        numbers: dict[str, list] = {}
        for name, moments in (("rows", self.rows), ("pairs", self.pairs)):
            packed, numbers[name] = moments.packed()
            tensors |= under(f"{name}.", packed)
        return tensors | ({"waiting": self.waiting} if len(self.waiting) else {}), numbers

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], numbers: dict[str, list]) -> PairedMoments:
        """The moments that `packed` was asked for."""
        rows, pairs = (RunningMoments.unpacked(below(f"{name}.", tensors), numbers[name])
                       for name in ("rows", "pairs"))
        return cls(rows, pairs, tensors.get("waiting", torch.zeros(0)))
