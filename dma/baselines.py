"""Plain averages, to hold the mental average against."""
from __future__ import annotations

import torch
from torch import Tensor


def mean_of(batch: Tensor) -> Tensor:
    """The mean over a batch (N, ...) of pictures or latents, accumulated in fp64, as (1, ...)."""
    return batch.double().mean(0, keepdim=True).to(batch.dtype)


def medoid(features: Tensor) -> int:
    """The index of the row of (N, ...) with the smallest summed cosine distance to all others; the first of equals.

    >>> medoid(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    1
    """
    rows = torch.nn.functional.normalize(features.double().flatten(1), dim=1)  # (N, F)
    return int((rows @ rows.sum(0)).argmax())
