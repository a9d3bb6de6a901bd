"""Norms of latents one by one: what residuals and noise are measured by."""
from __future__ import annotations

import torch
from torch import Tensor

from ..diffusion import shell_norm


def row_norms(x: Tensor) -> Tensor:
    """Norm of each row of (B, ...), (B,), never zero.

    >>> row_norms(torch.tensor([[3.0, 4.0]]))
    tensor([5.])
    """
    return x.flatten(1).norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)


def relative_distances(x: Tensor, reference: Tensor) -> Tensor:
    """|x - reference| / |reference| of each row of (B, ...), (B,)."""
    return row_norms(x - reference) / row_norms(reference)


def nominal_norms(noise: Tensor) -> list[float]:
    """Norm of each noise z (B, C, H, W) over sqrt(L): near 1 for standard normal noise."""
    return (row_norms(noise) / shell_norm(noise)).tolist()
