"""Double precision, which not every device has."""
from __future__ import annotations

from torch import Tensor


def in_double(values: Tensor) -> Tensor:
    """Values in fp64 on the CPU, without their history: what statistics are made of.

    Moved first and converted there, in two steps: `values.to("cpu", torch.float64)` converts before it moves, which
    ends in a TypeError on devices without fp64 (Apple's MPS, some Intel cards).

    >>> in_double(torch.tensor([0.5]))
    tensor([0.5000], dtype=torch.float64)
    """
    return values.detach().cpu().double()
