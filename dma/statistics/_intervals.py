"""Intervals and standard errors: Wilson's for shares, the jackknife for anything."""
from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import torch
from torch import Tensor


def wilson_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share p = count / total:  (p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    >>> low, high = wilson_interval(0, 10)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.278)
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p, scale = count / total, 1 + z * z / total
    centre = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def leave_one_out(function: Callable[[list[int]], Tensor], count: int) -> Tensor:
    """`function` of all but each of `count` indices in turn, (count, ...): the replicates of a jackknife."""
    return torch.stack([function([index for index in range(count) if index != left]) for left in range(count)])


def jackknife_error(replicates: Tensor) -> Tensor:
    """Standard error (...) of an estimate from its leave-one-out replicates (N, ...).

    For a mean it is the usual one:

    >>> values = torch.tensor([1.0, 2.0, 4.0, 9.0])
    >>> error = jackknife_error(leave_one_out(lambda kept: values[kept].mean(), 4))
    >>> bool(abs(error - values.std() / 2) < 1e-6)
    True
    """
    count = len(replicates)
    return ((count - 1) / count * (replicates - replicates.mean(0)).square().sum(0)).sqrt()
