"""The most central of many."""
from __future__ import annotations

from torch import Tensor

from ._typicality import best_of, typicality


def medoid(features: Tensor) -> int:
    """The index of the row of (N, ...) with the smallest summed cosine distance to all others; the first of equals.

    >>> import torch
    >>> medoid(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    1
    """
    return best_of(typicality(features))
