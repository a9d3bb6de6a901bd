"""Pictures that are the same, whatever noise they come from."""
from __future__ import annotations

import math

import torch
from torch import Tensor

from ..precision import in_double
from ._finite import check_finite_values
from ._pictures import check_pictures

# Root mean square difference of two pictures, of which each pixel lies in [0, 1], that are taken for one.
COPY = 0.02


def same_pixels(pictures: Tensor, side: int = 32) -> Tensor:
    """Features (N, 3 side^2) of pictures (N, H, W, 3) in [0, 1] for which |f - g| is the root mean square difference of
    two pictures that are averaged to side x side pixels: for what needs no encoder.

    Raises ValueError for other shapes, and for NaN and infinity.

    >>> one, other = same_pixels(torch.stack([torch.zeros(64, 64, 3), torch.ones(64, 64, 3)]))
    >>> round((one - other).norm().item(), 4)
    1.0
    """
    check_pictures(pictures)
    small = torch.cat([torch.nn.functional.interpolate(part[..., :3].float().cpu().movedim(-1, 1), (side, side),
                                                       mode="area") for part in pictures.split(16)])
    return small.flatten(1) / math.sqrt(small[0].numel())


def nearest_distances(features: Tensor) -> Tensor:
    """The distance (N,) of each of two or more rows (N, D) to the nearest other. Raises ValueError for NaN and
    infinity.

    >>> nearest_distances(torch.tensor([[0.0], [1.0], [3.0]])).tolist()
    [1.0, 1.0, 2.0]
    """
    rows = check_finite_values(in_double(features), "features")
    # Not by products, whose rounding would tell equal rows apart.
    apart = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    return apart.fill_diagonal_(math.inf).min(1).values
