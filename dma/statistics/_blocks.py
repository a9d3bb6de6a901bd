"""Large tensors a block at a time, so that no second one of their size is made."""
from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..precision import in_double

BLOCK = 2**22  # numbers; 32 MiB in fp64


def blocks(count: int, width: int, *, least: int = 1) -> Iterator[slice]:
    """Slices of `count` rows of `width` numbers each that hold some millions of numbers, and at least `least` rows.

    >>> list(blocks(5, 2**21))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, least, BLOCK // max(1, width))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def rows_in_double(values: Tensor) -> Iterator[Tensor]:
    """The rows of (N, ...), some at a time, as (B, ...) in fp64 on the CPU."""
    for rows in blocks(len(values), values[:1].numel()):
        yield in_double(values[rows])


def finite_rows(values: Tensor) -> Tensor:
    """Which rows (N,) of (N, ...) have no NaN and no infinity, bool on the CPU.

    >>> finite_rows(torch.tensor([[0.0, 1.0], [2.0, float("nan")]])).tolist()
    [True, False]
    """
    found = [torch.isfinite(values[rows].unsqueeze(-1).flatten(1)).all(1).cpu()
             for rows in blocks(len(values), values[:1].numel())]
    return torch.cat(found) if found else torch.ones(0, dtype=torch.bool)
