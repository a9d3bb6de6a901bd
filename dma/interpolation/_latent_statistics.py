"""How the noise of inversions differs from white noise, in one record."""
from __future__ import annotations

import math

from torch import Tensor

from ..diffusion import check_latents
from ._noise_bias import (
    amplification,
    channel_mean_growth,
    channel_means,
    common_energy,
    doubling_counts,
    independent_inputs,
    relative_norms,
    square_root_fit,
)
from ._report import LatentStatisticsReport


def latent_statistics(latents: Tensor, *, subsets: int = 16, seed: int = 0) -> LatentStatisticsReport:
    """What sets latents (N, C, H, W), the noise of inversions, apart from white noise.

    Norms, channel means and what the latents have in common, and centroids of 1, 2, 4 ... N of them in `subsets` random
    subsets each, drawn from `seed`, whose channel means grow as sqrt(N) where there is a common bias.

    Raises ValueError for latents that are no batch of finite pictures, or of which one is all zero.
    """
    check_latents(latents)
    if (empty := (latents.flatten(1) == 0).all(dim=1)).any():
        raise ValueError(f"Latent {int(empty.nonzero()[0]) + 1} is all zero: take the noise of an inversion, not an "
                         "empty latent.")
    means, count = channel_means(latents), len(latents)  # (N, C)
    counts = doubling_counts(count)
    growth = channel_mean_growth(latents, counts, subsets=subsets, seed=seed)
    slopes, fit = square_root_fit(counts, growth.averaged)
    errors: list[float | None] = [None] * means.shape[1]
    if count > 1:
        errors = (means.std(dim=0) / math.sqrt(count)).tolist()
    return LatentStatisticsReport(
        settings={"count": count, "shape": list(latents.shape[1:]), "subsets": subsets, "seed": seed},
        norms=relative_norms(latents).tolist(), channel_means=means.mean(dim=0).tolist(),
        standard_errors=errors, amplification=amplification(latents),
        independent_inputs=independent_inputs(latents),
        common_energy=common_energy(latents) if count > 1 else None,
        counts=counts, centroid_means=growth.averaged.tolist(),
        centroid_deviations=[rows.std(dim=0, unbiased=False).tolist() for rows in growth.channel_means],
        centroid_amplification=[factors.mean().item() for factors in growth.amplification],
        square_root_slopes=slopes.tolist(), square_root_fit=None if math.isnan(fit) else fit)
