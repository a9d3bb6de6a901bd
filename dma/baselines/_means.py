"""The plain mean of pictures or latents."""
from __future__ import annotations

from torch import Tensor

from ..precision import in_double


def mean_of(batch: Tensor) -> Tensor:
    """The mean over a batch (N, ...) of pictures or latents, accumulated in fp64, as (1, ...)."""
    return in_double(batch).mean(0, keepdim=True).to(batch.dtype).to(batch.device)
