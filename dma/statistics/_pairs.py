"""What rows have in common: means over pairs of different rows."""
from __future__ import annotations

import functools

import torch
from torch import Tensor

from ._blocks import rows_in_double
from ._intervals import jackknife_error
from ._unit_length import unit_length


def pair_products(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The mean inner product of two different rows (N, D), two or more, and its replicates (N,) without each row;
    of two rows, without one of which there is no pair, they are not finite.

    >>> mean, without = pair_products(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    >>> round(mean.item(), 6), without.tolist()
    (0.666667, [1.0, 0.0, 1.0])
    """
    count = len(rows)
    with_others = rows @ rows.sum(0) - rows.square().sum(1)  # (N,)
    pairs = with_others.sum()  # each twice
    return pairs / (count * (count - 1)), (pairs - 2 * with_others) / ((count - 1) * (count - 2))


def mean_product(rows: Tensor) -> tuple[float, float]:
    """The mean inner product of two different rows (N, D), of two or more, and its standard error by the jackknife,
    which leaves out one row at a time and so knows that pairs share their rows; 0 for two rows, of which no error is
    known.

    >>> round(mean_product(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))[0], 6)
    0.666667
    """
    mean, without = pair_products(rows)
    return mean.item(), jackknife_error(without).item() if len(rows) > 2 else 0.0


def mean_similarity(features: Tensor) -> Tensor:
    """The mean cosine similarity of each row of (K, ...) to all others, (K,) in fp64: 1 minus its mean distance.

    Of a single row there is nothing else to compare it with: 0. A row of zeros has similarity 0 to everything.

    The sum of a row's similarities is its inner product with the sum of all unit rows, so that two passes over the rows
    are enough, some of them at a time.

    >>> mean_similarity(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    tensor([0.3536, 0.7071, 0.3536], dtype=torch.float64)
    """
    def unit_rows(rows: Tensor) -> Tensor:
        return unit_length(rows.flatten(1))  # (B, F)

    # Added up one block after another: a list of the blocks' sums is as large as all rows where a block is one row.
    total = functools.reduce(torch.add, (unit_rows(rows).sum(0) for rows in rows_in_double(features)))  # (F,)
    summed = []
    for rows in rows_in_double(features):
        unit = unit_rows(rows)
        summed.append(unit @ total - unit.square().sum(1))
    return torch.cat(summed) / max(1, len(features) - 1)
