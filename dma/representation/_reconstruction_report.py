"""What a reconstruction from a representation measured on its way: a typed record that saves to JSON."""
from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..records import Record


@dataclass(frozen=True)
class ReconstructedLevel:
    """One noise level over K latents. Lists hold one number for each."""

    sigma: float
    residual_before: list[float]  # |H(x_k) - A|^2 / |A|^2 of the noised latents, over the channels that count
    residual_after: list[float]  # the same of those that were matched
    iterations: list[int]  # gradient steps taken
    forwards: list[int]  # forward passes up to the layer
    backwards: list[int]
    spread: float  # root mean square distance of the clean latents from their mean, over sqrt(C H W)


@dataclass(frozen=True)
class ReconstructionReport(Record):
    """The settings of a reconstruction, one record for each noise level, and what came of it.

    distances: |phi(x_k) - A| / |A| of each finished latent, read as the target was, over all noise levels and channels.
    sources: the same of each representation that the target is a mean of, those of weight 0 left out: where these are
    several, the way from a picture to what they have in common.
    """

    FORMAT = "mental-averages/reconstruction-report"
    NAME = "a report of a reconstruction from a representation"

    settings: dict
    levels: list[ReconstructedLevel] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)
    sources: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def check(self) -> None:
        for level in self.levels:
            if len({len(level.residual_before), len(level.residual_after), len(level.iterations), len(level.forwards),
                    len(level.backwards)}) > 1:
                raise ValueError(f"the noise level {level.sigma:g} has lists of different lengths")

    def table(self) -> str:
        """Means over the latents as a Markdown table, a row for each noise level. Distances are |H - A| / |A|."""
        lines = ["| noise level | distance before | after | iterations | spread |", "| --- | --- | --- | --- | --- |"]
        lines += [f"| {level.sigma:.3g} | {_root_mean(level.residual_before):.4f} | "
                  f"{_root_mean(level.residual_after):.4f} | {sum(level.iterations) / len(level.iterations):.1f} | "
                  f"{level.spread:.3f} |" for level in self.levels]
        return "\n".join(lines)


def _root_mean(residuals: list[float]) -> float:
    return math.sqrt(sum(residuals) / len(residuals))
