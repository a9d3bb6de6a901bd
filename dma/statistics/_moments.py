"""Streaming mean and variance of features, in fp64 on the CPU, batch by batch."""
from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..precision import in_double
from ._effective_count import effective_count_of_sums

# Rows after which it is asked again whether a mean is certain enough, whatever the batch size.
LOOK_AFTER = 16


@dataclass
class RunningMoments:
    """Weighted mean and summed weighted squared deviations of the rows seen so far (Chan's update of Welford's sums).

    >>> moments = RunningMoments()
    >>> moments.update(torch.tensor([[1.0], [2.0]])); moments.update(torch.tensor([[6.0]]))
    >>> moments.mean.item(), moments.variance.item()
    (3.0, 7.0)
    """

    count: int = 0  # rows
    weight: float = 0.0  # sum of their weights
    squared_weight: float = 0.0  # sum of the squares of their weights
    mean: Tensor = field(default_factory=lambda: torch.zeros(0))  # empty until there are rows, as is what follows
    deviations: Tensor = field(default_factory=lambda: torch.zeros(0))  # sum of w (x - mean)^2

    @classmethod
    def of(cls, rows: Tensor, weights: Tensor | None = None) -> RunningMoments:
        """Moments of rows (B, ...), each counted once, or as often as `weights` (B,) say, which must not be
        negative."""
        rows = in_double(rows)
        if weights is None:
            weight = squared_weight = float(len(rows))
            mean = rows.mean(0)
            deviations = (rows - mean).square().sum(0)
        else:
            weights = in_double(weights)
            weight, squared_weight = weights.sum().item(), weights.square().sum().item()
            # Rows without any weight leave the mean as it is, whatever their own.
            mean = torch.tensordot(weights, rows, 1) / max(weight, torch.finfo(torch.float64).tiny)
            deviations = torch.tensordot(weights, (rows - mean).square(), 1)
        return cls(len(rows), weight, squared_weight, mean, deviations)

    def update(self, rows: Tensor, weights: Tensor | None = None) -> None:
        """Add rows (B, ...) as `of` takes them."""
        self.merge(RunningMoments.of(rows, weights))

    def merge(self, other: RunningMoments) -> None:
        """Add the rows that another has seen, as if they had been seen here.

        >>> moments, other = RunningMoments(), RunningMoments()
        >>> moments.update(torch.tensor([[1.0], [2.0]])); other.update(torch.tensor([[6.0]]))
        >>> moments.merge(other)
        >>> moments.count, moments.mean.item(), moments.variance.item()
        (3, 3.0, 7.0)
        """
        self.count += other.count
        if not other.weight and self.weight:
            return
        if not self.weight:
            self.weight, self.squared_weight = other.weight, other.squared_weight
            self.mean, self.deviations = other.mean, other.deviations
            return
        total = self.weight + other.weight
        difference = other.mean - self.mean
        self.mean = self.mean + difference * (other.weight / total)
        self.deviations = (self.deviations + other.deviations
                           + difference.square() * (self.weight * other.weight / total))
        self.weight, self.squared_weight = total, self.squared_weight + other.squared_weight

    def packed(self) -> tuple[dict[str, Tensor], list]:
        """Tensors and numbers to be saved; no tensors without rows."""
        tensors = {"mean": self.mean, "deviations": self.deviations} if self.count else {}
        return tensors, [self.count, self.weight, self.squared_weight]

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], numbers: list) -> RunningMoments:
        """The moments that `packed` was asked for."""
        count, weight, squared_weight = numbers
        return cls(count, weight, squared_weight, tensors["mean"], tensors["deviations"]) if count else cls()

    @property
    def effective_count(self) -> float:
        """The number of equally weighted rows whose mean is as certain: the count without weights, 0 without rows."""
        return effective_count_of_sums(self.weight, self.squared_weight) if self.squared_weight else 0.0

    @property
    def variance(self) -> Tensor:
        """Unbiased variance of each feature; NaN with fewer than two rows that count."""
        if self.effective_count <= 1:
            return torch.full_like(self.deviations, math.nan)
        return self.deviations / (self.weight - self.squared_weight / self.weight)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, as a norm relative to the mean's: sqrt(sum var / effective count) / |mean|."""
        return (self.variance.sum() / self.effective_count).sqrt().item() / max(self.mean.norm().item(), 1e-30)

    def is_certain(self, mean_error: float) -> bool:
        """Whether the standard error is known and at most `mean_error`; asked after every LOOK_AFTER rows only.

        A mean that takes rows until this is true takes the same in batches of any size. 0 is never reached.
        """
        return (mean_error > 0 and self.count > 0 and self.count % LOOK_AFTER == 0
                and self.standard_error <= mean_error)
