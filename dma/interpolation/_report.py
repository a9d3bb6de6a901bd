"""What was mixed and what came of it: typed records of interpolations and of latent statistics that save to JSON."""
from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..records import Record
from ._interpolate import Mixture
from ._noise_bias import channel_means, relative_norms
from ._weights import effective_inputs


@dataclass(frozen=True)
class InterpolationReport(Record):
    """Settings and weights of an interpolation of N latents into M; norms are over sqrt(L)."""

    FORMAT = "mental-averages/interpolation-report"
    NAME = "a report of an interpolation"

    settings: dict  # method, mean_adjustment, low_pass_width (null unless it was used), shape (C, H, W)
    weights: list[list[float]]  # (M, N), rows sum to one
    effective_inputs: list[float]  # (M,) 1 / sum w^2
    amplification: list[float]  # (M,) alpha, |e'| / |sum w e|
    input_norms: list[float]  # (N,)
    output_norms: list[float]  # (M,)
    input_means: list[list[float]]  # (N, C) mean of each channel
    output_means: list[list[float]]  # (M, C)


@dataclass(frozen=True)
class LatentStatisticsReport(Record):
    """Statistics of N latents against those of white noise; norms are over sqrt(L)."""

    FORMAT = "mental-averages/latent-statistics"
    NAME = "a report of latent statistics"

    settings: dict  # count N, shape (C, H, W), subsets, seed
    norms: list[float]  # (N,)
    channel_means: list[float]  # (C,) over latents and space
    standard_errors: list[float | None]  # (C,) of these means, over latents; null for one latent
    amplification: float  # alpha of the centroid, sqrt(N) for noise
    independent_inputs: float  # mean energy over energy of the mean, N for noise
    common_energy: float | None  # |d|^2 / L of the part that all latents share, estimated; null for one latent
    counts: list[int]  # sizes of the subsets whose centroids were taken, without mean adjustment
    centroid_means: list[list[float]]  # (counts, C) channel means of normalised centroids, averaged over subsets
    centroid_deviations: list[list[float]]  # (counts, C) their standard deviation over subsets
    centroid_amplification: list[float]  # (counts,) mean alpha
    square_root_slopes: list[float]  # (C,) of the law  mean = slope sqrt(N)
    square_root_fit: float | None  # its R^2; null where nothing varies

    def summary(self) -> str:
        """The numbers in words, a few lines."""
        count, (channels, height, width) = self.settings["count"], self.settings["shape"]
        mean_norm = sum(self.norms) / count
        errors = ["" if error is None else f" +- {error:.4f}" for error in self.standard_errors]
        lines = [f"{count} latents of {channels} x {height} x {width}",
                 f"norm / sqrt(L): mean {mean_norm:.4f}, from {min(self.norms):.4f} to {max(self.norms):.4f}",
                 *(f"channel {number}: mean {mean:+.4f}{error}"
                   for number, (mean, error) in enumerate(zip(self.channel_means, errors))),
                 f"amplification of the centroid: {self.amplification:.3g} (noise: {math.sqrt(count):.3g})",
                 f"independent inputs: {self.independent_inputs:.3g} of {count}"]
        if self.square_root_fit is not None:
            lines.append(f"law sqrt(N) for the channel means of centroids: R^2 {self.square_root_fit:.3f} (1: exact; "
                         "below 0: no such growth)")
        return "\n".join(lines)


def interpolation_report(latents: Tensor, mixture: Mixture, *, method: str, mean_adjustment: str,
                         low_pass_width: float = math.inf) -> InterpolationReport:
    """The record of `mixture`, which `interpolate` made of latents (N, C, H, W) with these settings."""
    low_pass = mean_adjustment == "low_pass" and math.isfinite(low_pass_width)
    settings = {"method": method, "mean_adjustment": mean_adjustment,
                "low_pass_width": low_pass_width if low_pass else None, "shape": list(latents.shape[1:])}
    return InterpolationReport(
        settings, mixture.weights.tolist(), effective_inputs(mixture.weights).tolist(),
        mixture.amplification.tolist(),
        relative_norms(latents).tolist(), relative_norms(mixture.latents).tolist(),
        channel_means(latents).tolist(), channel_means(mixture.latents).tolist())
