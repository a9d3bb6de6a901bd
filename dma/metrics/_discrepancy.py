"""The squared maximum mean discrepancy of two samples by any kernel, with its error by the jackknife."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..statistics import jackknife_error
from ._estimate import Estimate, with_error

# Rows of a kernel matrix at a time: 400 MB against 50 000 others.
ROWS = 1024
Kernel = Callable[[Tensor, Tensor], Tensor]  # of rows (N, D) and (M, D): (N, M)


def discrepancy(features: Tensor, others: Tensor, kernel: Kernel, *, unbiased: bool) -> Estimate:
    """E k(x, x') + E k(y, y') - 2 E k(x, y) for rows x (N, D) and y (M, D) in fp64.

    Over pairs of different rows within a sample if `unbiased`, and over all pairs, each row with itself among them, if
    not (Gretton et al. 2012, equations 3 and 5). The 95 % interval is Student's around the error by the jackknife,
    which leaves out each row of either sample; None for samples of fewer than three rows.

    >>> rows = torch.tensor([[0.0], [1.0], [2.0]])
    >>> found = discrepancy(rows, rows + 2, lambda x, y: x @ y.T, unbiased=True)
    >>> round(found.value, 2), found.low < 4 < found.high  # (mean - mean)^2 less both variances of a mean
    (3.33, True)
    """
    within = [_within(rows, kernel) for rows in (features, others)]
    between = [_row_sums(features, others, kernel), _row_sums(others, features, kernel)]  # (N,) and (M,)
    counts = [len(features), len(others)]
    pairs = counts[0] * counts[1]
    means = [_mean_within(sums.sum(), own.sum(), count, unbiased) for (sums, own), count in zip(within, counts)]
    value = (means[0] + means[1] - 2 * between[0].sum() / pairs).item()
    if min(counts) < 3:
        return Estimate(value)
    errors = []
    for (sums, own), across, count in zip(within, between, counts):
        rest = _mean_within(sums.sum() - 2 * sums + own, own.sum() - own, count - 1, unbiased)
        errors.append(jackknife_error(rest - 2 * (across.sum() - across) / (pairs - pairs / count)))
    return with_error(value, torch.stack(errors).norm().item(), min(counts) - 1)


def _within(rows: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Of each row (N,): the kernel with all rows added up, and with itself."""
    own = torch.cat([kernel(row, row)[0] for row in rows.split(1)])
    return _row_sums(rows, rows, kernel), own


def _row_sums(rows: Tensor, others: Tensor, kernel: Kernel) -> Tensor:
    return torch.cat([kernel(chunk, others).sum(1) for chunk in rows.split(ROWS)])


def _mean_within(total: Tensor, own: Tensor, count: int, unbiased: bool) -> Tensor:
    """The mean kernel of two rows, from the sum over all pairs and that of each row with itself."""
    return (total - own) / (count * (count - 1)) if unbiased else total / count**2
