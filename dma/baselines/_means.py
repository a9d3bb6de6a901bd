"""The plain mean of pictures or latents."""
from __future__ import annotations

import torch
from torch import Tensor

from ..statistics import rows_in_double


def mean_of(batch: Tensor) -> Tensor:
    """The mean over a batch (N, ...) of pictures or latents, accumulated in fp64, as (1, ...)."""
    total = torch.zeros((1, *batch.shape[1:]), dtype=torch.float64)
    for rows in rows_in_double(batch):
        total += rows.sum(0, keepdim=True)
    return (total / len(batch)).to(batch.dtype).to(batch.device)
