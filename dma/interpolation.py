"""Weighted mixtures and centroids of noise latents that neither fade nor degenerate.

Landolsi and Kahl, "Addressing degeneracies in latent interpolation for diffusion models". Latents here are the noise
of an inversion, z of nominal norm sqrt(L), L = C H W. A mixture is taken in three stages (section 5 of the paper):

    z_n = d_n + e_n         a deterministic part, by `mean_adjustment`, and a noise part
    d' = sum w_n d_n        mixed linearly, so that a bias common to all inputs is never amplified
    e' = sum a_n e_n        mixed by `method`, which restores the norm that averaging takes away
    z' = d' + e'

Without the split (mean_adjustment "none") a common bias grows with the square root of the number of inputs.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from . import mixing_weights

METHODS = ("lin", "fix", "nin", "restored_variance", "lol", "slerp", "slerp_common")
MEAN_ADJUSTMENTS = ("none", "global", "channel", "low_pass")
# A noise part below this share of its latent is rounding error of the fp64 arithmetic.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Mixture:
    """Mixed latents, one per row of weights."""

    latents: Tensor  # (M, C, H, W) in fp32
    weights: Tensor  # (M, N) in fp64 on the CPU, rows sum to one
    amplification: Tensor  # alpha (M,) in fp64 on the CPU: |e'| / |sum w_n e_n|


def interpolate(latents: Tensor, weights: Tensor | None = None, method: str = "fix", mean_adjustment: str = "channel",
                low_pass_width: float = math.inf) -> Mixture:
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

    `mean_adjustment` and `low_pass_width` choose the split, see `split`. For the methods that aim at sqrt(L), L is
    reduced for a low pass as `nominal_norm` says. Whatever the type of `latents`, arithmetic is in fp64 on the CPU and
    the result in fp32 on their device; weights are treated as in `mixing_weights.normalised`.

    Raises ValueError for latents that are no batch of finite pictures, for weights that are no convex combinations, for
    slerp between more than two inputs, and where noise parts cancel, so that no direction is left to give a norm to.

    >>> latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> interpolate(latents, method="fix", mean_adjustment="none").latents.norm().item()
    16.0
    >>> one_hot = torch.tensor([[0.0, 1.0, 0.0]])
    >>> torch.equal(interpolate(latents, one_hot, "restored_variance").latents, latents[1:2])
    True
    """
    check_latents(latents)
    if method not in METHODS:
        raise ValueError(f"There is no method {method!r} of interpolation: choose one of {', '.join(METHODS)}.")
    rows = (mixing_weights.equal(len(latents)) if weights is None
            else mixing_weights.normalised(weights, len(latents)))  # (M, N)
    values = latents.detach().to("cpu", torch.float64)
    noise = split(values, mean_adjustment, low_pass_width)[1].flatten(1)  # (N, L)
    mixed = rows @ noise  # (M, L)
    if method in ("slerp", "slerp_common"):
        coefficients = torch.stack([slerp_coefficients(noise, row, number, keep_lengths=method == "slerp_common")
                                    for number, row in enumerate(rows, start=1)])  # (M, N)
    else:
        nominal = nominal_norm(values.shape[1:], mean_adjustment, low_pass_width)
        coefficients = _factors(method, noise, rows, mixed, nominal)[:, None] * rows
    # Adding only what differs from the linear mixture keeps one-hot rows exact to the last bit.
    result = rows @ values.flatten(1) + (coefficients - rows) @ noise  # (M, L)
    lengths, mixed_lengths = (coefficients @ noise).norm(dim=1), mixed.norm(dim=1)
    amplification = torch.where(mixed_lengths > 0, lengths / mixed_lengths.clamp_min(1e-300), 1.0)
    return Mixture(result.reshape(-1, *latents.shape[1:]).to(latents.device, torch.float32), rows, amplification)


def check_latents(latents: Tensor) -> None:
    """Raise ValueError unless these are latents (N, C, H, W) of one or more pictures, all finite."""
    if latents.ndim != 4:
        raise ValueError("Latents of pictures have four dimensions (batch, channels, height, width), but these have "
                         f"the shape {tuple(latents.shape)}: connect image latents, not video or audio.")
    if latents.numel() == 0:
        raise ValueError("There are no latents to mix: the batch is empty. Connect at least one.")
    if not torch.isfinite(latents).all():
        raise ValueError("The latents contain NaN or infinity: look for the node that made them.")


def split(latents: Tensor, mean_adjustment: str, low_pass_width: float = math.inf) -> tuple[Tensor, Tensor]:
    """Deterministic and noise part (d, e) of latents (N, C, H, W), which sum to them (section 5, options 1 to 4).

        none      d = 0
        global    d = mean over channels and space
        channel   d = mean of each channel over space
        low_pass  d = a Gaussian low pass of each channel, `low_pass_width` its standard deviation in latent pixels

    The low pass continues the latent by reflection at its borders: it is the factor exp(-(pi k width / n)^2 / 2) on
    coefficient k of the cosine transform along a side of n pixels. A constant channel therefore stays as it is, e has
    mean zero in every channel at any width, and an infinite width is `channel` exactly. In between, what is common to
    the inputs at low frequencies, a layout and not only a colour, is kept from being amplified too.

    A noise part that is mere rounding error is set to zero. Raises ValueError for another name and widths not above 0.
    """
    if mean_adjustment not in MEAN_ADJUSTMENTS:
        raise ValueError(f"There is no mean adjustment {mean_adjustment!r}: choose one of "
                         f"{', '.join(MEAN_ADJUSTMENTS)}.")
    if mean_adjustment == "none":
        kept = torch.zeros_like(latents)
    elif mean_adjustment == "global":
        kept = latents.mean(dim=(1, 2, 3), keepdim=True).expand_as(latents)
    elif mean_adjustment == "channel" or low_pass_width == math.inf:
        kept = latents.mean(dim=(2, 3), keepdim=True).expand_as(latents)
    else:
        down, across = (_low_pass_matrix(side, low_pass_width).to(latents) for side in latents.shape[2:])
        kept = down @ latents @ across  # (N, C, H, W)
    noise = latents - kept
    rounding = noise.flatten(1).norm(dim=1) <= ROUNDING * latents.flatten(1).norm(dim=1)  # (N,)
    return kept, torch.where(rounding[:, None, None, None], 0.0, noise)


def nominal_norm(shape: tuple[int, ...], mean_adjustment: str, low_pass_width: float = math.inf) -> float:
    """The norm that the noise part of a latent of `shape` (C, H, W) is brought to by the methods that aim at sqrt(L).

    sqrt(L) as in the paper, except for a low pass: it leaves a smaller share of white noise in e than the channel mean
    does, and sqrt(L) is multiplied by the square root of that share, which tends to 1 as the width grows and to 0 as it
    shrinks. A narrow low pass thus comes close to linear mixing instead of blowing up what little noise it leaves.

    >>> nominal_norm((4, 8, 8), "channel"), round(nominal_norm((4, 8, 8), "low_pass", 1.0), 2)
    (16.0, 13.45)
    """
    nominal = math.sqrt(math.prod(shape))
    if mean_adjustment != "low_pass" or low_pass_width == math.inf:
        return nominal
    down, across = (_gains(side, low_pass_width) for side in shape[1:])
    left = (1 - down[:, None] * across).square().sum().item()  # of H W - 1 without the low pass
    return nominal * math.sqrt(left / max(1, shape[1] * shape[2] - 1))


def _gains(side: int, width: float) -> Tensor:
    if not width > 0:
        raise ValueError(f"The low-pass width is {width:g}: it must be above 0 latent pixels.")
    return torch.exp(-0.5 * (math.pi * width / side * torch.arange(side, dtype=torch.float64)).square())


def _low_pass_matrix(side: int, width: float) -> Tensor:
    """The symmetric matrix (side, side) of a Gaussian low pass with reflecting ends."""
    places = torch.arange(side, dtype=torch.float64)
    # (frequencies, pixels)
    cosines = torch.cos(math.pi / side * places[:, None] * (places + 0.5)) * math.sqrt(2 / side)
    cosines[0] = math.sqrt(1 / side)
    return cosines.T @ (_gains(side, width)[:, None] * cosines)


def _factors(method: str, noise: Tensor, weights: Tensor, mixed: Tensor, nominal: float) -> Tensor:
    """The factor (M,) on the linear mixture of noise parts (N, L)."""
    if method == "lin":
        return torch.ones(len(weights), dtype=torch.float64)
    if method == "lol":
        return mixing_weights.effective_inputs(weights).sqrt()
    lengths, mixed_lengths = noise.norm(dim=1), mixed.norm(dim=1)  # (N,), (M,)
    mean_lengths = weights @ lengths  # (M,)
    if method == "fix":
        targets = torch.full_like(mixed_lengths, nominal)
    elif method == "nin":
        targets = mean_lengths
    else:
        targets = restored_variance(weights @ lengths.square(), mixed_lengths.square(), nominal)
    cancelled = mixed_lengths <= ROUNDING * mean_lengths
    if (lost := cancelled & (targets > 0)).any():
        row = int(lost.nonzero()[0]) + 1
        raise ValueError(f"In row {row} of the weights nothing is left to be scaled to the norm "
                         f"{targets[row - 1]:.4g}: the latents are constant, or cancel each other. Use the method lin, "
                         "other weights, or latents with noise.")
    return torch.where(cancelled, 1.0, targets / torch.where(cancelled, 1.0, mixed_lengths))


def restored_variance(mean_energy: Tensor, kept_energy: Tensor, nominal: float) -> Tensor:
    """The norm that gives a mixture back the variance it lost, at its nominal level: sqrt(|m|^2 + L v / q).

    Section 7 of the paper asks for a closed form that is continuous near the inputs and approaches sqrt(L) far from
    them. See the weights as a probability distribution over the inputs e_n, with mean m = sum w_n e_n, mean energy
    q = sum w_n |e_n|^2 and variance v = sum w_n |e_n - m|^2, so that

        q = |m|^2 + v.

    Averaging keeps the energy |m|^2 and loses v, the share v / q of all there was. What is kept is known, and stays as
    it is; what is lost is gone, and its share of the energy is given back at the level L that noise has:

        |e'|^2 = |m|^2 + L v / q = c q + (1 - c) L,      c = |m|^2 / q.

    The second form says the same as a blend between the inputs' own energy and the nominal one. 1 / c is the
    effective number of inputs, measured instead of counted: for independent inputs of equal norm it is 1 / sum w_n^2.

    - w_n = 1: v = 0, so e' = e_n exactly, and copies of one input give that input.
    - Weights spread over ever more independent inputs: c -> 0 and |e'| -> sqrt(L), as in `fix`.
    - Smooth in weights and inputs wherever m is not zero (where it is, no method has a direction to go on with), and
      |e'| always lies between the inputs' root mean square norm and sqrt(L).
    - Only the distribution counts: the order of inputs has no effect, nor has it to split an input's weight between two
      copies of it. A target blended by 1 / sum w_n^2 would change with such a copy, and LOL amplifies copies.
    - Inputs of norm sqrt(L) are mixed as by `fix` and `nin`, which then agree.

    `mean_energy` is q, `kept_energy` |m|^2, both (M,), `nominal` sqrt(L). Zero where all inputs are zero.

    >>> restored_variance(torch.tensor([9.0, 9.0]), torch.tensor([9.0, 0.0]), nominal=4.0)
    tensor([3., 4.])
    """
    lost = (mean_energy - kept_energy).clamp_min(0)
    share = torch.where(mean_energy > 0, lost / torch.where(mean_energy > 0, mean_energy, 1.0), 0.0)
    return (kept_energy + nominal**2 * share).sqrt()


def slerp_coefficients(noise: Tensor, row: Tensor, number: int = 1, keep_lengths: bool = False) -> Tensor:
    """Factors (N,) on noise parts (N, L) of spherical interpolation between the two that `row` (N,) gives weight to.

    Shoemake's formula joins points p1, p2 of one sphere at angle theta:

        slerp(p1, p2, t) = sin((1 - t) theta) / sin(theta) p1 + sin(t theta) / sin(theta) p2.

    Latents have different norms. By default the formula gets their directions p = e / |e|, to which it applies, and the
    result has the norm (1 - t) |e1| + t |e2|. With `keep_lengths` its factors are applied to e1 and e2 themselves, as
    is common; norms along that path can lie outside the inputs' (section 3.3). Both agree for inputs of equal norm.

    Raises ValueError for more than two weights above zero, an input without a direction, and opposite directions.
    """
    chosen = row.nonzero().flatten()
    if len(chosen) > 2:
        raise ValueError(f"Row {number} of the weights gives weight to {len(chosen)} latents, but slerp joins two: use "
                         "another method, or rows with at most two weights above 0.")
    if len(chosen) == 1:
        return row.clone()
    ends, shares = noise[chosen], row[chosen]  # (2, L), (2,)
    lengths = ends.norm(dim=1)
    if (lengths == 0).any():
        if (lengths == 0).all():
            return row.clone()
        raise ValueError(f"Slerp in row {number} of the weights starts from a latent without noise, which has no "
                         "direction: use another method, or latents that hold noise.")
    directions = ends / lengths[:, None]
    # Half angles from chords stay accurate where the cosine is near 1 or -1.
    theta = 2 * torch.atan2((directions[0] - directions[1]).norm(), (directions[0] + directions[1]).norm())
    if math.pi - theta < 1e-6:
        raise ValueError(f"The two latents in row {number} of the weights point in opposite directions, and no "
                         "shortest way on the sphere joins them: use another method or other latents.")
    factors = shares if theta < 1e-7 else torch.sin(shares * theta) / torch.sin(theta)
    if not keep_lengths:
        factors = factors * (shares @ lengths) / lengths
    return torch.zeros_like(row).index_put((chosen,), factors)
