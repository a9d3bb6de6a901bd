"""The squared maximum mean discrepancy of two samples by any kernel, with its error by the jackknife."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..statistics import jackknife_error
from ._ensembles import check_ensembles
from ._estimate import Estimate, with_error

# Rows and columns of a kernel matrix at a time: 8 MB, and as much again for each step of the kernel.
ROWS = 1024
Kernel = Callable[[Tensor, Tensor], Tensor]  # of rows (N, D) and (M, D): (N, M)


def discrepancy(features: Tensor, others: Tensor, kernel: Kernel, *, unbiased: bool,
                ensemble_size: int = 1) -> Estimate:
    """E k(x, x') + E k(y, y') - 2 E k(x, y) for rows x (N, D) and y (M, D) in fp64.

    Over pairs of different rows within a sample if `unbiased`, and over all pairs, each row with itself among them, if
    not (Gretton et al. 2012, equations 3 and 5). The 95 % interval is Student's around the error by the jackknife,
    which leaves out each row of either sample; None for samples of fewer than three rows.

    `ensemble_size` rows x after one another belong together, so that whole ensembles are left out. `unbiased` then
    takes pairs of rows of different ensembles: those of one are not two draws of the distribution.

    Raises ValueError for rows that cannot be divided into ensembles, and for a single one of several rows if
    `unbiased`.

    >>> rows = torch.tensor([[0.0], [1.0], [2.0]])
    >>> found = discrepancy(rows, rows + 2, lambda x, y: x @ y.T, unbiased=True)
    >>> round(found.value, 2), found.low < 4 < found.high  # (mean - mean)^2 less both variances of a mean
    (3.33, True)
    """
    check_ensembles(len(features), ensemble_size)
    sizes = [ensemble_size, 1]
    counts = [len(features) // ensemble_size, len(others)]  # of ensembles
    if unbiased and counts[0] == 1:
        raise ValueError("Pairs of rows of different ensembles take two ensembles or more, but there is one.")
    within = [_within(rows, kernel, size) for rows, size in zip((features, others), sizes)]
    between = [_sums(features, others, kernel, ensemble_size), _sums(others, features, kernel, 1)]  # (R,) and (M,)
    pairs = len(features) * len(others)
    means = [_mean_within(sums.sum(), own.sum(), count, size, unbiased)
             for (sums, own), count, size in zip(within, counts, sizes)]
    value = (means[0] + means[1] - 2 * between[0].sum() / pairs).item()
    if min(counts) < 3:
        return with_error(value, 0.0, 0)
    errors = []
    for (sums, own), across, count, size in zip(within, between, counts, sizes):
        rest = _mean_within(sums.sum() - 2 * sums + own, own.sum() - own, count - 1, size, unbiased)
        errors.append(jackknife_error(rest - 2 * (across.sum() - across) / (pairs - pairs / count)))
    return with_error(value, torch.stack(errors).norm().item(), min(counts) - 1)


def _within(rows: Tensor, kernel: Kernel, size: int) -> tuple[Tensor, Tensor]:
    """Of each ensemble (R,): the kernel of its rows with all rows added up, and that with its own."""
    own = torch.stack([_row_sums(ensemble, ensemble, kernel).sum() for ensemble in rows.split(size)])
    return _sums(rows, rows, kernel, size), own


def _sums(rows: Tensor, others: Tensor, kernel: Kernel, size: int) -> Tensor:
    """The kernel with all other rows, added up for each ensemble of rows: (R,)."""
    return _row_sums(rows, others, kernel).unflatten(0, (-1, size)).sum(1)


def _row_sums(rows: Tensor, others: Tensor, kernel: Kernel) -> Tensor:
    """The kernel with all other rows, added up for each row (N,), a square of the matrix at a time."""
    return torch.cat([torch.stack([kernel(chunk, part).sum(1) for part in others.split(ROWS)]).sum(0)
                      for chunk in rows.split(ROWS)])


def _mean_within(total: Tensor, own: Tensor, count: int, size: int, unbiased: bool) -> Tensor:
    """The mean kernel of two rows of `count` ensembles, from the sum over all pairs and that within each ensemble."""
    return (total - own) / (count * (count - 1) * size**2) if unbiased else total / (count * size) ** 2
