"""A perturbation that shows what a small bias of the noise does."""
from __future__ import annotations

import torch
from torch import Tensor

from ..diffusion import check_latents


def offset_channels(latents: Tensor, offset: float, *, lowered: int = 0, raised: int = 1,
                    share: float = 0.25) -> Tensor:
    """Latents (N, C, H, W) with one channel lowered and another raised by `offset` in the top rows, a `share` of all.

    The perturbation of the paper's figure 6: the mean over all channels stays what it was, those of two channels do
    not. At least one row is moved. Raises ValueError for channels that do not exist or are the same.

    >>> offset_channels(torch.zeros(1, 4, 8, 8), 0.4)[0, :, :3, 0]
    tensor([[-0.4000, -0.4000,  0.0000],
            [ 0.4000,  0.4000,  0.0000],
            [ 0.0000,  0.0000,  0.0000],
            [ 0.0000,  0.0000,  0.0000]])
    """
    check_latents(latents)
    channels = latents.shape[1]
    if not (0 <= lowered < channels and 0 <= raised < channels) or lowered == raised:
        raise ValueError(f"Channels {lowered} and {raised} were to be moved, but this latent has the channels 0 to "
                         f"{channels - 1}: choose two different ones of these.")
    rows = max(1, round(share * latents.shape[2]))
    moved = latents.detach().to(torch.float32, copy=True)
    moved[:, lowered, :rows] -= offset
    moved[:, raised, :rows] += offset
    return moved
