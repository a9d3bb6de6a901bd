"""How far a round trip comes back from where it set out: pictures and latents."""
from __future__ import annotations

import torch
from torch import Tensor

from ..precision import in_double
from ..statistics import blocks, finite_rows
from ._pictures import check_range

LARGEST_PSNR = 100.0


def picture_psnr(found: Tensor, expected: Tensor) -> Tensor:
    """PSNR in dB, (N,) on the CPU, of pictures (N, H, W, 3) in [0, 1], cut there: -10 log10 of the mean squared error;
    at most 100, for an error of 1e-10.

    Raises ValueError for pictures of other shapes, with NaN or infinity, and where `check_range` does: cut at 0 and
    1 those of another range would all be alike.

    >>> picture_psnr(torch.full((1, 2, 2, 3), 0.6), torch.full((1, 2, 2, 3), 0.5)).round(decimals=3).tolist()
    [20.0]
    """
    _check(found, expected, "pictures")
    for pictures in (found, expected):
        check_range(pictures)
    pairs = ([pictures[rows].float().cpu().clamp(0, 1) for pictures in (found, expected)]  # may lie on two devices
             for rows in blocks(len(found), found[:1].numel()))
    error = torch.cat([(one - other).square().flatten(1).mean(1) for one, other in pairs])
    return -10 * error.clamp_min(10 ** (-LARGEST_PSNR / 10)).log10()


def latent_error(found: Tensor, expected: Tensor) -> Tensor:
    """|found - expected| / |expected|, (N,), of latents (N, ...).

    Raises ValueError for latents of other shapes, and for expected ones that are 0 everywhere.

    >>> latent_error(torch.tensor([[0.0, 3.0]]), torch.tensor([[0.0, 2.0]])).tolist()
    [0.5]
    """
    _check(found, expected, "latents")
    # Lengths in fp64, in which the squares of fp32 neither overflow nor vanish.
    found, expected = (in_double(latents).flatten(1) for latents in (found, expected))
    lengths = expected.norm(dim=1)
    if not lengths.all():
        raise ValueError("Some of the expected latents are 0 everywhere, so that no error is relative to them.")
    return ((found - expected).norm(dim=1) / lengths).float()


def _check(found: Tensor, expected: Tensor, name: str) -> None:
    if found.shape != expected.shape or found.ndim < 2 or not len(found):
        raise ValueError(f"A round trip ends with as many {name} of the same size as it began with, but there are "
                         f"{tuple(found.shape)} and {tuple(expected.shape)}.")
    if not (finite_rows(found).all() and finite_rows(expected).all()):
        raise ValueError(f"The {name} contain NaN or infinity.")
