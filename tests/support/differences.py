"""Derivatives by central differences, with steps and tolerances that follow from the precision of what is
differentiated."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def step_of(precision: torch.dtype, scale: float) -> float:
    """The step h = scale eps^(1/5), where eps is the rounding error of `precision` and `scale` the distance over which
    the function changes.

    The difference below is off by about (h / scale)^4 of the derivative for the function's curvature and by
    eps scale / h for its rounding: eps^(4/5) each with this step. A smaller one only adds rounding errors, which are
    another processor's own.
    """
    return scale * torch.finfo(precision).eps ** 0.2


@torch.no_grad()
def derivative(function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor, step: float) -> Tensor:
    """d function(x + t direction) / dt at t = 0 by the difference of fourth order,

        (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h.
    """
    below2, below, above, above2 = (function(x + k * step * direction) for k in (-2, -1, 1, 2))
    return (8 * (above - below) - (above2 - below2)) / (12 * step)


def tolerance_of(precision: torch.dtype, values: Tensor, change: float, scale: float) -> float:
    """The relative error that a derivative of the size `change` may have, found with `step_of` at `values`:

        2 eps^(4/5) (1 + |values| / (scale change)),

    twice the errors of curvature and rounding above: where values hardly change over `scale`, more of their digits
    cancel. 1e-11 in double and 1e-4 in single precision for networks.
    """
    return 2 * torch.finfo(precision).eps ** 0.8 * (1 + values.norm().item() / (scale * change))
