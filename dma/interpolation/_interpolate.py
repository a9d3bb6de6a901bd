"""Weighted mixtures and centroids of noise latents that neither fade nor degenerate.

Landolsi and Kahl, "Addressing degeneracies in latent interpolation for diffusion models". Latents here are the noise
of an inversion, z of nominal norm sqrt(L), L = C H W. A mixture is taken in three stages (section 5 of the paper):

    z_n = d_n + e_n         a deterministic part, by `mean_adjustment`, and a noise part
    d' = sum w_n d_n        mixed linearly, so that a bias common to all inputs is never amplified
    e' = sum a_n e_n        mixed by `method`, which restores the norm that averaging takes away
    z' = d' + e'

Without a deterministic part (mean_adjustment "none") a common bias grows with the square root of the number of inputs.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..choices import check_choice
from ..diffusion import check_latents
from ..precision import in_double
from ..rounding import is_rounding
from ._mean_adjustment import nominal_norm, separate_noise
from ._restored_variance import restored_variance
from ._slerp import slerp_coefficients
from ._weights import effective_inputs, equal_weights, normalised_weights

METHODS = ("lin", "fix", "nin", "restored_variance", "lol", "slerp", "slerp_common")


@dataclass(frozen=True)
class Mixture:
    """Mixed latents, one per row of weights."""

    latents: Tensor  # (M, C, H, W) in fp32
    weights: Tensor  # (M, N) in fp64 on the CPU, rows sum to one
    amplification: Tensor  # alpha (M,) in fp64 on the CPU: |e'| / |sum w_n e_n|; 1 where the e_n cancel


def interpolate(latents: Tensor, weights: Tensor | None = None, *, method: str = "fix",
                mean_adjustment: str = "channel", low_pass_width: float = math.inf) -> Mixture:
    """Mix latents (N, C, H, W) with the rows of `weights` (M, N); without weights, their centroid.

    `method` says how the noise parts e_n become one, with m = sum w_n e_n:

        lin                e' = m                                      equation 1: loses norm
        fix                e' = m sqrt(L) / |m|                        equation 2: does not reproduce the inputs
        nin                e' = m sum w_n |e_n| / |m|                  equation 4
        restored_variance  e' = m sqrt(|m|^2 + L v / q) / |m|          ours, see `restored_variance`
        lol                e' = m / sqrt(sum w_n^2)                    right for independent inputs of mean zero
        slerp              directions by SLERP, norm sum w_n |e_n|     two inputs, see `slerp_coefficients`
        slerp_common       SLERP's factors on the e_n as they are      two inputs; the norm can leave the inputs' range

    lol is LOL / COG (arXiv 2408.08558) with the deterministic part in the place of the distribution's mean. `lin` is
    the same for every mean adjustment. All but `fix` give input n exactly when w_n = 1.

    `mean_adjustment` and `low_pass_width` say what is noise, see `separate_noise`. For the methods that aim at sqrt(L),
    L is reduced for a low pass as `nominal_norm` says. Whatever the type of `latents`, arithmetic is in fp64 on the CPU
    and the result in fp32 on their device; weights are treated as in `normalised_weights`.

    Raises ValueError for latents that are no batch of finite pictures, for weights that are no convex combinations, for
    slerp between more than two inputs, and where noise parts cancel, so that no direction is left to give a norm to.

    >>> latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> interpolate(latents, method="fix", mean_adjustment="none").latents.norm().item()
    16.0
    >>> one_hot = torch.tensor([[0.0, 1.0, 0.0]])
    >>> torch.equal(interpolate(latents, one_hot, method="restored_variance").latents, latents[1:2])
    True
    """
    check_latents(latents)
    check_choice(method, METHODS, "method")
    rows = (equal_weights(len(latents)) if weights is None
            else normalised_weights(weights, len(latents)))  # (M, N)
    values = in_double(latents)
    noise = separate_noise(values, mean_adjustment, low_pass_width=low_pass_width)[1].flatten(1)  # (N, L)
    values = values.flatten(1)  # (N, L)
    mixed = rows @ noise  # (M, L)
    cancelled = is_rounding(mixed.norm(dim=1), rows @ noise.norm(dim=1))  # (M,)
    if method in ("slerp", "slerp_common"):
        coefficients = torch.stack([slerp_coefficients(noise, row, number=number, keep_lengths=method == "slerp_common")
                                    for number, row in enumerate(rows, start=1)])  # (M, N)
    else:
        nominal = nominal_norm(latents.shape[1:], mean_adjustment, low_pass_width=low_pass_width)
        coefficients = _factors(method, noise, rows, mixed, cancelled, nominal)[:, None] * rows
    # Adding only what differs from the linear mixture keeps one-hot rows exact to the last bit.
    result = rows @ values + (coefficients - rows) @ noise  # (M, L)
    # Where noise parts cancel, what a sum of products leaves of them depends on the processor: it is no noise.
    result[cancelled] = rows[cancelled] @ (values - noise)
    result[is_rounding(result.norm(dim=1), rows @ values.norm(dim=1))] = 0
    lengths, mixed_lengths = (coefficients @ noise).norm(dim=1), mixed.norm(dim=1)
    amplification = torch.where(cancelled, 1.0, lengths / torch.where(cancelled, 1.0, mixed_lengths))
    return Mixture(result.reshape(-1, *latents.shape[1:]).to(torch.float32).to(latents.device), rows, amplification)


def _factors(method: str, noise: Tensor, weights: Tensor, mixed: Tensor, cancelled: Tensor, nominal: float) -> Tensor:
    """The factor (M,) on the linear mixture of noise parts (N, L), 1 for rows (M,) where they cancel."""
    if method == "lin":
        return torch.ones(len(weights), dtype=torch.float64)
    if method == "lol":
        return torch.where(cancelled, 1.0, effective_inputs(weights).sqrt())
    lengths, mixed_lengths = noise.norm(dim=1), mixed.norm(dim=1)  # (N,), (M,)
    mean_lengths = weights @ lengths  # (M,)
    if method == "fix":
        targets = torch.full_like(mixed_lengths, nominal)
    elif method == "nin":
        targets = mean_lengths
    else:
        targets = restored_variance(weights @ lengths.square(), mixed_lengths.square(), nominal)
    if (lost := cancelled & (targets > 0)).any():
        row = int(lost.nonzero()[0]) + 1
        raise ValueError(f"In row {row} of the weights nothing is left to be scaled to the norm "
                         f"{targets[row - 1]:.4g}: the latents are constant, or cancel each other. Use the method lin, "
                         "other weights, or latents with noise.")
    return torch.where(cancelled, 1.0, targets / torch.where(cancelled, 1.0, mixed_lengths))
