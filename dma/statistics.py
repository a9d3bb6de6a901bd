"""Streaming mean and variance of features, in fp64 on the CPU, batch by batch."""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class RunningMoments:
    """Count, mean and summed squared deviations of rows seen so far (Chan's update of Welford's sums).

    >>> moments = RunningMoments()
    >>> moments.update(torch.tensor([[1.0], [2.0]])); moments.update(torch.tensor([[6.0]]))
    >>> moments.mean.item(), moments.variance.item()
    (3.0, 7.0)
    """

    count: int = 0
    mean: Tensor | None = None
    deviations: Tensor | None = None

    def update(self, rows: Tensor) -> None:
        """Add rows (B, ...)."""
        rows = rows.detach().to("cpu", torch.float64)
        mean = rows.mean(0)
        deviations = (rows - mean).square().sum(0)
        if self.mean is None:
            self.count, self.mean, self.deviations = len(rows), mean, deviations
            return
        total = self.count + len(rows)
        difference = mean - self.mean
        self.mean = self.mean + difference * (len(rows) / total)
        self.deviations = self.deviations + deviations + difference.square() * (self.count * len(rows) / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """Unbiased variance of each feature; NaN with fewer than two rows."""
        return self.deviations / (self.count - 1) if self.count > 1 else torch.full_like(self.deviations, math.nan)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, as a norm relative to the mean's: sqrt(sum var / count) / |mean|."""
        return (self.variance.sum() / self.count).sqrt().item() / max(self.mean.norm().item(), 1e-30)
