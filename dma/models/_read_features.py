"""Features of many latents, read without gradient."""
from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..diffusion import Denoiser
from ..execution import BatchSize


def features_of(denoiser: Denoiser, latents: Tensor, sigma: float) -> Tensor:
    """H(x, sigma) (B, ...) of latents (B, C, H, W) from anywhere, on the Denoiser's device."""
    with torch.no_grad():
        return denoiser.features(latents.to(denoiser.device), sigma)


def read_features(denoiser: Denoiser, latents: Tensor, sigma: float,
                  batch: BatchSize) -> Iterator[tuple[slice, Tensor]]:
    """H(x, sigma) of latents (K, C, H, W), a micro-batch at a time, with its rows."""
    return batch.over(len(latents), lambda rows: features_of(denoiser, latents[rows], sigma))
