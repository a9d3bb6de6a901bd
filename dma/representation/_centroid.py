"""The weighted mean of representations, and how far others are from it."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from ..precision import in_double
from ._representation import Representation, check_representation


def centroid(found: Representation, weights: Sequence[float] | None = None) -> Representation:
    """The representation of one latent that there may not be: the weighted mean of those of N latents.

    What arXiv 2506.01912 averages over pictures (`centroids` in its code) to draw what they have in common.

    weights: one number for each latent, none negative and not all zero; all count alike if left out. Raises ValueError
    for others.
    """
    count = len(check_representation(found))
    given = torch.tensor([1.0] * count if weights is None else list(weights), dtype=torch.float64)
    if given.shape != (count,) or not (given >= 0).all() or not 0 < given.sum() < math.inf:
        raise ValueError(f"{count} representations need as many weights, none negative and not all zero, but these are "
                         f"{', '.join(f'{weight:g}' for weight in given.flatten().tolist()) or 'none'}.")
    mean = torch.tensordot(given / given.sum(), in_double(found.means), 1)  # (L, C, ...)
    return replace(found, means=mean.float()[None])


def distances_to(found: Representation, target: Representation) -> list[float]:
    """|phi(x_k) - A| / |A| of each representation from that of one latent, over all noise levels and channels."""
    rows, mean = in_double(found.rows()), in_double(target.rows())  # (N, D), (1, D)
    return ((rows - mean).norm(dim=1) / mean.norm()).tolist()
