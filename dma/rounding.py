"""What is zero, or a whole number, but for the rounding error of fp64 arithmetic."""
from __future__ import annotations

import math

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


def floor_of(sizes: Tensor) -> float:
    """The least size of the terms that scores of these absolute values (N,) are of: what is left where similarities of
    the size 1 cancel is no size, and that of one huge score is none of the others.

    >>> import torch
    >>> floor_of(torch.tensor([0.5, 1e-17])), floor_of(torch.tensor([0.9, 1e30]))
    (0.5, 1.0)
    """
    return min(1.0, sizes.max().item()) if len(sizes) else 0.0


def rounded_down(value: float) -> int:
    """The largest whole number that is not above a value, where a rounding error below one is that one.

    >>> rounded_down(0.29 * 100), int(0.29 * 100)
    (29, 28)
    """
    return math.floor(value + 1e-9)
