"""What every distance between two samples asks of them."""
from __future__ import annotations

from torch import Tensor

from ..precision import in_double
from ._finite import check_finite_values


def checked_samples(features: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, D) and (M, D) in fp64 on the CPU.

    Raises ValueError unless both are matrices of the same width D >= 1, with two rows or more and finite values alone.
    """
    for name, rows in (("features", features), ("others", others)):
        if rows.ndim != 2:
            raise ValueError(f"{name} must be a matrix with a row for each picture, not of shape {tuple(rows.shape)}.")
        if len(rows) < 2:
            raise ValueError(f"{name} must have at least two rows to estimate a spread from, not {len(rows)}.")
        check_finite_values(rows, name)
    if features.shape[1] != others.shape[1] or not features.shape[1]:
        raise ValueError("Both samples must have the same features in their columns, at least one, not "
                         f"{features.shape[1]} and {others.shape[1]}.")
    return in_double(features), in_double(others)
