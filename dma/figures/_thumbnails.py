"""Pictures made small enough that many of them can be kept."""
from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ._sheet import scaled, width_at


def thumbnails(pictures: Tensor, height: int) -> Tensor:
    """Pictures (N, H, W, C) scaled to a height: (N, height, w, 3) in [0, 1]; those that have it stay as they are.

    A sheet with cells of this height shows them as it would have shown the whole pictures.

    >>> thumbnails(torch.ones(2, 64, 96, 3), 16).shape
    torch.Size([2, 16, 24, 3])
    """
    if pictures.shape[1] == height and pictures.shape[-1] == 3:
        return pictures
    return torch.stack([torch.from_numpy(np.array(scaled(picture, height))).float() / 255 for picture in pictures])


def height_within(pixels: int, count: int, height: int, width: int) -> int:
    """The height, at most `height`, at which `count` pictures of this shape have no more than `pixels` pixels; 1 if
    there is none.

    >>> height_within(10_000, 4, 64, 64), height_within(10_000, 10, 64, 64)
    (50, 31)
    """
    found = min(height, math.isqrt(pixels * height // (count * width)))
    # Widths are rounded, perhaps up.
    while found > 1 and count * found * width_at(found, height, width) > pixels:
        found -= 1
    return max(1, found)
