"""Checks of latents."""
from __future__ import annotations

import torch
from torch import Tensor


def check_latents(latents: Tensor) -> None:
    """Raise ValueError unless these are latents (N, C, H, W) of one or more pictures, all finite."""
    if latents.ndim != 4:
        raise ValueError("Latents of pictures have four dimensions (batch, channels, height, width), but these have "
                         f"the shape {tuple(latents.shape)}, as those of video or audio may have.")
    if latents.numel() == 0:
        raise ValueError("There are no latents to mix: the batch is empty.")
    if not torch.isfinite(latents).all():
        raise ValueError("The latents contain NaN or infinity: something went wrong where they were made.")
