"""What of a latent is mixed linearly, so that a bias common to all inputs is never amplified."""
from __future__ import annotations

import math

import torch
from torch import Tensor

from ..choices import check_choice
from ..rounding import is_rounding

MEAN_ADJUSTMENTS = ("none", "global", "channel", "low_pass")


def separate_noise(latents: Tensor, mean_adjustment: str, *,
                   low_pass_width: float = math.inf) -> tuple[Tensor, Tensor]:
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

    >>> latents = torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2)
    >>> [part.flatten().tolist() for part in separate_noise(latents, "channel")]
    [[2.0, 2.0], [-1.0, 1.0]]
    """
    check_choice(mean_adjustment, MEAN_ADJUSTMENTS, "mean adjustment")
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
    rounding = is_rounding(noise.flatten(1).norm(dim=1), latents.flatten(1).norm(dim=1))  # (N,)
    return kept, torch.where(rounding[:, None, None, None], 0.0, noise)


def nominal_norm(shape: tuple[int, ...], mean_adjustment: str, *, low_pass_width: float = math.inf) -> float:
    """The norm that the noise part of a latent of `shape` (C, H, W) is brought to by the methods that aim at sqrt(L).

    sqrt(L) as in the paper, except for a low pass: it leaves a smaller share of white noise in e than the channel mean
    does, and sqrt(L) is multiplied by the square root of that share, which tends to 1 as the width grows and to 0 as it
    shrinks. A narrow low pass thus comes close to linear mixing instead of blowing up what little noise it leaves.

    >>> nominal_norm((4, 8, 8), "channel"), round(nominal_norm((4, 8, 8), "low_pass", low_pass_width=1.0), 2)
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
