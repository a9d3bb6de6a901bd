"""Rows scaled to unit length, however large or small their numbers are."""
from __future__ import annotations

import torch
from torch import Tensor

from ..precision import in_double

SAFE = (1e-100, 1e100)  # lengths of which the squares of fp64 are far from overflow, and lose nothing


def unit_length(rows: Tensor) -> Tensor:
    """Rows (N, D) over their lengths, in their own type and on their device; reckoned in fp64, and by their
    largest number where squares would overflow (beyond 1e154; beyond 1e19 in fp32) or vanish.

    Rows of zeros stay so, and rows with NaN or infinity have NaN. Raises ValueError for rows without numbers.

    >>> unit_length(torch.tensor([[3e200, 4e200], [3e-200, 4e-200], [0.0, 0.0]], dtype=torch.float64))
    tensor([[0.6000, 0.8000],
            [0.6000, 0.8000],
            [0.0000, 0.0000]], dtype=torch.float64)
    """
    if rows.shape[1] == 0:
        raise ValueError(f"Rows of shape {tuple(rows.shape)} hold no numbers, and have no length: give each a number "
                         "or more.")
    values = in_double(rows)
    lengths = values.norm(dim=1, keepdim=True)  # (N, 1)
    unsafe = ~((lengths > SAFE[0]) & (lengths < SAFE[1]))
    if unsafe.any():
        largest = values.abs().amax(1, keepdim=True)
        # Others are not scaled, so that they are what they were to the last bit.
        values = values / torch.where(unsafe & (largest > 0), largest, torch.ones_like(largest))
        lengths = values.norm(dim=1, keepdim=True)
    return (values / torch.where(lengths == 0, torch.ones_like(lengths), lengths)).to(dtype=rows.dtype).to(rows.device)
