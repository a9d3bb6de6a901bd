"""A mean that a few stray values do not move."""
from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 2**22  # values sorted at a time


def trimmed_mean(batch: Tensor, trim: float = 0.2) -> Tensor:
    """The mean of (N, ...) without the lowest and the highest `trim` of the N values at each place, as (1, ...).

    floor(trim N) values are left out at each end: trim 0 is the plain mean, and just below 0.5 nearly the median. Up to
    that many pictures of any kind move a place no farther than among the values of the others.

    Raises ValueError unless trim is 0 or more and below 0.5.

    >>> trimmed_mean(torch.tensor([[0.0], [1.0], [2.0], [3.0], [100.0]]), 0.2)
    tensor([[2.]])
    """
    if not 0 <= trim < 0.5:
        raise ValueError(f"trim is {trim}: it must lie between 0 and below 0.5.")
    count, columns = len(batch), batch.flatten(1)  # (N, F)
    left_out = int(trim * count)
    kept = slice(left_out, count - left_out)
    found = [part.float().sort(dim=0).values[kept].mean(0) for part in columns.split(max(1, BLOCK // count), dim=1)]
    return torch.cat(found).to(batch.dtype).view(1, *batch.shape[1:])
