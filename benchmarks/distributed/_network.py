"""A network for workers to build: a U-Net of diffusers with random weights, so that they need no file."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

SHAPE = (4, 32, 32)


@dataclass(frozen=True)
class RandomUnet:
    """The Denoiser of a U-Net of the form of Stable Diffusion's, `width` channels wide, on one device."""

    width: int = 64
    seed: int = 0

    def __call__(self, device: str = "cpu") -> Any:
        from diffusers import DDIMScheduler, UNet2DConditionModel

        from mental_averages.dma.models import DiffusersDenoiser

        torch.manual_seed(self.seed)
        network = UNet2DConditionModel(
            sample_size=SHAPE[-1], block_out_channels=(self.width, 2 * self.width), layers_per_block=1,
            cross_attention_dim=64, attention_head_dim=8, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")).eval().requires_grad_(False)
        texts = torch.randn(2, 1, 7, 64, generator=torch.Generator().manual_seed(self.seed))
        return DiffusersDenoiser(network.to(device), DDIMScheduler(), *texts.to(device), guidance_scale=3.0)


def doing_nothing(denoiser: Any) -> Callable[[slice], None]:
    """A task for `dma.diffusion.spread` that takes no time."""
    return lambda rows: None
