"""Whether there is any difference between rows at all."""
from __future__ import annotations

import torch
from torch import Tensor


def check_different(rows: Tensor, what: str, otherwise: str) -> None:
    """Raise ValueError if all of several rows (N, ...) are the same to the last bit, calling them `what` and saying
    what follows `otherwise`. Nothing is copied, and two rows that differ end the search.

    >>> check_different(torch.tensor([[1.0], [2.0]]), "pictures", "there is nothing to cluster")
    >>> check_different(torch.ones(3, 1), "pictures", "there is nothing to cluster")
    Traceback (most recent call last):
    ValueError: All 3 pictures are the same: there is nothing to cluster.
    """
    if len(rows) > 1 and all(torch.equal(row, rows[0]) for row in rows[1:]):
        raise ValueError(f"All {len(rows)} {what} are the same: {otherwise}.")
