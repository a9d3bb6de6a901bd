"""The plain mean of pictures or latents."""
from __future__ import annotations

from torch import Tensor

from ..statistics import rows_in_double


def mean_of(batch: Tensor) -> Tensor:
    """The mean over a batch (N, ...) of pictures or latents, accumulated in fp64, as (1, ...)."""
    total = sum(rows.sum(0, keepdim=True) for rows in rows_in_double(batch))
    return (total / len(batch)).to(batch.dtype).to(batch.device)
