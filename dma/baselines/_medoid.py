"""The most central of many."""
from __future__ import annotations

import torch
from torch import Tensor

from ..statistics import rows_in_double


def medoid(features: Tensor) -> int:
    """The index of the row of (N, ...) with the smallest summed cosine distance to all others; the first of equals.

    The sum of a row's distances is N minus its inner product with the sum of all unit rows, so that two passes over the
    rows are enough, some of them at a time.

    >>> medoid(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    1
    """
    def unit_rows(rows: Tensor) -> Tensor:
        return torch.nn.functional.normalize(rows.flatten(1), dim=1)  # (B, F)

    total = sum(unit_rows(rows).sum(0) for rows in rows_in_double(features))  # (F,)
    return int(torch.cat([unit_rows(rows) @ total for rows in rows_in_double(features)]).argmax())
