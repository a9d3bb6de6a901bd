"""What every measure asks of the numbers that it is taken of."""
from __future__ import annotations

from torch import Tensor


def check_finite_values(values: Tensor, name: str) -> Tensor:
    """The values (...) themselves. Raises ValueError, which calls them `name`, unless all are finite.

    >>> import torch
    >>> check_finite_values(torch.tensor([torch.nan]), "features")
    Traceback (most recent call last):
    ValueError: features must be finite, but some values are NaN or infinite.
    """
    if not values.isfinite().all():
        raise ValueError(f"{name} must be finite, but some values are NaN or infinite.")
    return values
