"""A mean that a few stray values do not move."""
from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from ..execution import Event, drive
from ..rounding import rounded_down

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
    return drive(trimming(batch, trim), None)


def trimming(batch: Tensor, trim: float) -> Generator[Event, None, Tensor]:
    """The loop of `trimmed_mean`; events are of the kind "mean", one for each block of places."""
    count, columns = len(batch), batch.flatten(1)  # (N, F)
    left_out = rounded_down(trim * count)
    kept = slice(left_out, count - left_out)
    found, done = [], 0
    for part in columns.split(max(1, BLOCK // count), dim=1):
        found.append(part.float().sort(dim=0).values[kept].mean(0))
        done += part.shape[1]
        yield Event("mean", part.shape[1], done, columns.shape[1])
    return torch.cat(found).to(batch.dtype).view(1, *batch.shape[1:])
