"""Pooling feature maps over space: from the whole map, over grids of cells, to the mean of each channel."""
from __future__ import annotations

import torch
from torch import Tensor

from ..choices import check_choice

NONE, MEAN = "none", "mean"
# New names go to the end, because saved graphs and files name them. A grid is said by its cells.
GRIDS = {"2x2": 2, "4x4": 4, "8x8": 8, "16x16": 16}
POOLINGS = (NONE, MEAN, *GRIDS)


def pooled(features: Tensor, pooling: str) -> Tensor:
    """Feature maps (B, C, h, w) pooled over space: the maps themselves for "none", (B, C) for "mean", and for a grid
    such as "2x2" (B, C, 2, 2), the means over its cells. Features that are no maps, (B, C), stay as they are.

    The cells of a grid share the map out evenly: a pixel on an edge counts in both cells by its part in each, so that
    the mean of all cells is that of the map. A side with fewer pixels than cells is left as it is. Pooling is linear.

    Raises ValueError for an unknown pooling.

    >>> maps = torch.arange(16.0).view(1, 1, 4, 4)
    >>> pooled(maps, "2x2").flatten().tolist(), pooled(maps, "mean").tolist(), pooled(maps, "16x16").shape[2:]
    ([2.5, 4.5, 10.5, 12.5], [[7.5]], torch.Size([4, 4]))
    """
    check_choice(pooling, POOLINGS, "pooling")
    if features.ndim < 4 or pooling == NONE:
        return features
    if pooling == MEAN:
        return features.mean(dim=(2, 3))
    rows, columns = (_cells(side, GRIDS[pooling]).to(features) for side in features.shape[2:])  # (n, h), (m, w)
    return rows @ features @ columns.T  # (B, C, n, m)


def _cells(side: int, count: int) -> Tensor:
    """The weight (count, side) of each of `side` pixels in the mean over each of `count` cells, at most one a pixel."""
    count = min(count, side)
    edges = torch.arange(count + 1, dtype=torch.float64) * (side / count)
    pixels = torch.arange(side, dtype=torch.float64)
    shared = (torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)).clamp(min=0)
    return shared * (count / side)
