"""How many equally weighted rows a weighted mean is worth."""
from __future__ import annotations

from typing import TypeVar

from torch import Tensor

Number = TypeVar("Number", float, Tensor)


def effective_count(weights: Tensor, *, dim: int | None = None) -> Tensor:
    """Kish's effective sample size (sum w)^2 / sum w^2 of weights (...), along `dim` or of all of them.

    N for N equal weights, 1 when one row has all the weight: the number of equally weighted rows whose mean is as
    certain as the weighted one. Their common scale has no effect. NaN where all weights are zero.

    >>> effective_count(torch.tensor([[1.0, 1.0, 0.0], [0.0, 5.0, 0.0]]), dim=1)
    tensor([2., 1.])
    """
    return effective_count_of_sums(weights.sum(dim), weights.square().sum(dim))


def effective_count_of_sums(weight: Number, squared_weight: Number) -> Number:
    """The same from sum w and sum w^2, for weights that were summed up elsewhere.

    >>> effective_count_of_sums(3.0, 3.0)
    3.0
    """
    return weight**2 / squared_weight
