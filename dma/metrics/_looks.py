"""Sharpness and brightness of single pictures."""
from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..statistics import blocks
from ._pictures import check_pictures

LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601


def sharpness(pictures: Tensor) -> Tensor:
    """Variance of the Laplacian of the brightness, (N,), of pictures (N, H, W, 3) in [0, 1].

    The second differences of neighbouring pixels, so that it is to be compared between pictures of one size only, and
    as `ratio_of_means` to that of plain samples.

    Raises ValueError for pictures of fewer than 3 x 3 pixels, without three channels, and with NaN or infinity.

    >>> sharpness(torch.ones(2, 4, 4, 3)).tolist()
    [0.0, 0.0]
    """
    check_pictures(pictures)
    if min(pictures.shape[1:3]) < 3:
        raise ValueError(f"Sharpness takes pictures of 3 x 3 pixels or more, not of {tuple(pictures.shape[1:3])}.")
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    unbiased = int(pictures.shape[1] * pictures.shape[2] > 9)
    return torch.cat([F.conv2d(grey[:, None], kernel).flatten(1).var(dim=1, correction=unbiased)
                      for grey in _luma(pictures)])


def brightness(pictures: Tensor) -> Tensor:
    """The mean brightness, (N,), of pictures (N, H, W, 3) in [0, 1].

    Raises ValueError for pictures without three channels, and with NaN or infinity.

    >>> [round(value, 6) for value in brightness(torch.ones(1, 2, 2, 3) / 2).tolist()]
    [0.5]
    """
    check_pictures(pictures)
    return torch.cat([grey.mean(dim=(1, 2)) for grey in _luma(pictures)])


def _luma(pictures: Tensor) -> Iterator[Tensor]:
    """The brightness of some pictures at a time, (B, H, W), so that a thousand large ones are not copied at once."""
    for rows in blocks(len(pictures), pictures[:1].numel()):
        yield pictures[rows, ..., :3].float().cpu() @ torch.tensor(LUMA)
