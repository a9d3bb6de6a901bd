"""What is zero, or a whole number, but for the rounding error of fp64 arithmetic."""
from __future__ import annotations

import math

import torch
from torch import Tensor

# What is below this share of what it was computed from is rounding error.
ROUNDING = 1e-12


def is_rounding(values: Tensor, scale: Tensor | float) -> Tensor:
    """Where `values` (...) are nothing but the rounding error of terms of the size `scale` that cancel, in fp64.

    Terms that cancel leave exact zeros on one processor and 1e-17 on another, which adds them up in another order or
    rounds once where the first rounds twice. A comparison with zero would depend on it. Zeros are rounding error, too,
    also of terms of the size 0.

    >>> import torch
    >>> is_rounding(torch.tensor([-3e-17, 0.3]), 1.0)
    tensor([ True, False])
    """
    return values.abs() <= ROUNDING * scale


def are_equal(scores: Tensor, others: Tensor, among: Tensor) -> Tensor:
    """Where `scores` (...) and `others` are equal up to rounding, of the scores `among` (N,).

    Beside their own size: beside one huge score all others would be equal. What is left where terms of the size 1
    cancel, as in similarities, is no size.

    >>> import torch
    >>> scores = torch.tensor([0.5, 0.9, -1e30], dtype=torch.float64)
    >>> are_equal(scores, scores.max(), scores)
    tensor([False,  True, False])
    """
    if not len(among):
        return scores == others
    smallest = min(1.0, among.abs().max().item())
    return is_rounding(scores - others, torch.maximum(scores.abs(), others.abs()).clamp(min=smallest))


def rounded_down(value: float) -> int:
    """The largest whole number that is not above a value, where a rounding error below one is that one.

    >>> rounded_down(0.29 * 100), int(0.29 * 100)
    (29, 28)
    """
    return math.floor(value + 1e-9)
