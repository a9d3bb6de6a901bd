"""What every measure by the cosine asks of features."""
from __future__ import annotations

from torch import Tensor

from ..precision import in_double
from ..statistics import unit_length
from ._finite import check_finite_values


def unit_rows(features: Tensor, name: str = "features") -> Tensor:
    """Features (N, D) of N pictures scaled to unit length, in fp64 on the CPU.

    Raises ValueError, with `name`, unless they are a matrix of one or more rows and columns whose values are finite and
    whose rows have a direction.

    >>> unit_rows(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]], dtype=torch.float64)
    """
    if features.ndim != 2 or not features.numel():
        raise ValueError(f"{name} must be a matrix with a row for each picture, one or more, not of shape "
                         f"{tuple(features.shape)}.")
    rows = check_finite_values(in_double(features), name)
    if not rows.any(1).all():
        raise ValueError(f"Some rows of {name} are 0 everywhere, and have no direction.")
    return unit_length(rows)


def unit_pair(features: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """`unit_rows` of features (N, D) and of those of a reference (M, D). Raises ValueError, too, for different widths.
    """
    rows, others = unit_rows(features), unit_rows(reference, "reference")
    if rows.shape[1] != others.shape[1]:
        raise ValueError(f"Both sets must have the same features in their columns, not {rows.shape[1]} and "
                         f"{others.shape[1]}.")
    return rows, others
