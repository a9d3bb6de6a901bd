"""How far samples scatter, and how far their mean moves from one model to the next."""
from __future__ import annotations

import math

from torch import Tensor

from ..precision import in_double
from ..statistics import jackknife_error, pair_products, student_quantile
from ._estimate import Estimate, check_known
from ._finite import check_finite_values

FEWEST = 3


def spread(features: Tensor) -> Estimate:
    """How far samples are from their mean, as s = sqrt(sum_k |f_k - m|^2 / (N - 1)) of features f (N, D).

    The interval is that of s^2: Student's t with N - 1 degrees of freedom around the error by the jackknife, cut at 0.

    Raises ValueError for features of fewer than 3 samples, that are not finite, or whose squares are not.

    >>> found = spread(torch.tensor([[1.0], [2.0], [3.0]]))
    >>> found.value, found.low, round(found.high, 2)
    (1.0, 0.0, 2.27)
    """
    rows = _checked(features)
    return _root(*_scatter(rows))


def drift(before: Tensor, after: Tensor) -> Estimate:
    """How far the mean of samples moves between two models, relative to how far samples of the first scatter.

    before, after: features (N, D) of N samples by each, two of which may belong together by their noise. With the
    differences d_k = after_k - before_k and s of `spread`,

        drift^2 = mean over k != l of <d_k, d_l> / s^2,

    whose numerator is |E d|^2 without bias, however much single samples move about. 1: as far as one sample lies from
    the mean. An estimate below 0 counts as 0.

    The interval is that of drift^2: Student's t with N - 1 degrees of freedom around the error by the jackknife, which
    leaves out a sample of both at a time, cut at 0. For drifts near 0 its upper end is somewhat small.

    Raises ValueError where `spread` does, for different shapes, and where all samples of `before` are the same.

    >>> before = torch.tensor([[1.0], [2.0], [3.0]])
    >>> drift(before, before + 2).value
    2.0
    """
    first, second = _checked(before), _checked(after)
    if first.shape != second.shape:
        raise ValueError(f"Drift is measured on as many samples with the same features, not on {tuple(first.shape)} "
                         f"and {tuple(second.shape)}.")
    moved, moved_without = pair_products(second - first)
    square, squares = _scatter(first)
    if not (square > 0 and (squares > 0).all()):
        raise ValueError("All samples are the same, or all but one: there is no scatter to measure a drift by.")
    return _root(moved / square, moved_without / squares)


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < FEWEST or not features.shape[1]:
        raise ValueError(f"Features have the shape (N, D) with N at least {FEWEST}, but these are "
                         f"{tuple(features.shape)}.")
    return check_finite_values(in_double(features), "Features")


def _scatter(rows: Tensor) -> tuple[Tensor, Tensor]:
    """s^2 of rows (N, D), and its replicates (N,) without each of them."""
    count = len(rows)
    squares = (rows - rows.mean(0)).square().sum(1)  # (N,)
    without = (squares.sum() - squares * count / (count - 1)).clamp_min(0) / (count - 2)
    return squares.sum() / (count - 1), without


def _root(square: Tensor, replicates: Tensor) -> Estimate:
    """The root of a square with its interval."""
    value, error = check_known(square.item(), jackknife_error(replicates).item())
    half = student_quantile(len(replicates) - 1) * error
    low, middle, high = (math.sqrt(max(0.0, each)) for each in (value - half, value, value + half))
    return Estimate(middle, low, high)
