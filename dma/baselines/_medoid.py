"""The most central of many."""
from __future__ import annotations

from torch import Tensor

from ..statistics import mean_similarity
from ._best_of import best_of


def medoid(features: Tensor) -> int:
    """The index of the row of (N, ...) with the smallest summed cosine distance to all others; the first of equals.

    >>> import torch
    >>> medoid(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    1
    """
    return best_of(mean_similarity(features))
