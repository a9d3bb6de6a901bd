"""The most central of many."""
from __future__ import annotations

import torch
from torch import Tensor

from ..precision import in_double


def medoid(features: Tensor) -> int:
    """The index of the row of (N, ...) with the smallest summed cosine distance to all others; the first of equals.

    >>> medoid(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    1
    """
    rows = torch.nn.functional.normalize(in_double(features).flatten(1), dim=1)  # (N, F)
    return int((rows @ rows.sum(0)).argmax())
