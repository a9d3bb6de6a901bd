"""What an alignment measured on its way: a typed record that saves to JSON."""
from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..records import Record


@dataclass(frozen=True)
class AlignedStep:
    """One aligned step over K latents. Latents are measured in the papers' units z, of nominal norm sqrt(L)."""

    sigma: float
    mean_error: float  # standard error of the target, relative to the target's norm
    residual_before: list[float]  # |H(z_k) - A|^2 / |A|^2 for each latent
    residual_after: list[float]
    iterations: list[int]  # gradient steps taken for each latent
    spread: float  # root mean square distance of the matched latents from their mean, over sqrt(L)
    norm: float  # root mean square norm of the matched latents, over sqrt(L)
    mean_count: int = 0  # latents whose features the target is the mean of; 0 where it is not known (version 1)
    forwards: list[int] = field(default_factory=list)  # forward passes up to the semantic layer of matching each latent
    backwards: list[int] = field(default_factory=list)  # and backward passes


@dataclass(frozen=True)
class AlignmentReport(Record):
    """The settings of an alignment, one record per aligned step, and the seconds it took (resumed parts included)."""

    FORMAT = "mental-averages/alignment-report"
    VERSION = 2  # 2 added the fields of AlignedStep with defaults
    NAME = "a report of a mental average"

    settings: dict
    initial_spread: float
    steps: list[AlignedStep] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def final_residual(self) -> float:
        """Mean residual after the last aligned step; NaN without aligned steps."""
        if not self.steps:
            return math.nan
        residuals = self.steps[-1].residual_after
        return sum(residuals) / len(residuals)
