"""The full architectures of SD1.5, SDXL and SD3 medium with random weights.

They give no pictures, but every pass costs what it costs with real ones.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ._demo_model import on_model

COMMON = dict(image_size=32, in_channels=4, out_channels=4, model_channels=320, use_spatial_transformer=True,
              legacy=False, use_temporal_attention=False, use_temporal_resblock=False)


@dataclass(frozen=True)
class Architecture:
    """A network as ComfyUI builds it, its usual latents (C, H, H), a micro-batch for a large GPU, and the widths of its
    prompts."""

    network: dict
    channels: int
    size: int
    batch: int
    width: int
    pooled: int | None


ARCHITECTURES = {
    "SD15": Architecture(dict(
        COMMON, num_res_blocks=[2, 2, 2, 2], transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0], channel_mult=[1, 2, 4, 4],
        transformer_depth_output=[1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], transformer_depth_middle=1, context_dim=768,
        use_linear_in_transformer=False, num_heads=8, num_head_channels=-1, adm_in_channels=None), 4, 64, 4, 768, None),
    "SDXL": Architecture(dict(
        COMMON, num_res_blocks=[2, 2, 2], transformer_depth=[0, 0, 2, 2, 10, 10], channel_mult=[1, 2, 4],
        transformer_depth_output=[0, 0, 0, 2, 2, 2, 10, 10, 10], transformer_depth_middle=10, context_dim=2048,
        use_linear_in_transformer=True, num_heads=-1, num_head_channels=64, adm_in_channels=2816,
        num_classes="sequential"), 4, 128, 1, 2048, 1280),
    "SD3": Architecture(dict(
        in_channels=16, patch_size=2, depth=24, input_size=None, num_patches=192**2, pos_embed_max_size=192,
        adm_in_channels=2048,
        context_embedder_config=dict(target="torch.nn.Linear", params=dict(in_features=4096, out_features=1536)),
        pos_embed_scaling_factor=None, x_block_self_attn_layers=[]), 16, 128, 1, 4096, 2048),
}


def random_model(name: str, dtype: torch.dtype, device: torch.device, **changes: Any) -> Any:
    """A MODEL of an architecture with random weights of unit gain."""
    import comfy.model_patcher
    import comfy.supported_models

    config = getattr(comfy.supported_models, name)({**ARCHITECTURES[name].network, **changes, "dtype": dtype})
    torch.manual_seed(0)
    model = config.get_model({}, device=device)
    for parameter in model.diffusion_model.parameters():
        parameter.data.normal_(std=0.1 if parameter.ndim == 1 else parameter[0].numel() ** -0.5)
    for buffer in model.diffusion_model.buffers():
        # The table of positions of SD3 is one, and core leaves it as the memory was.
        buffer.normal_(std=0.1)
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)


def random_prompt(name: str) -> list:
    """The CONDITIONING of random numbers for an architecture."""
    generator, architecture = torch.Generator().manual_seed(0), ARCHITECTURES[name]
    options = {"pooled_output": torch.randn(1, architecture.pooled, generator=generator)} if architecture.pooled else {}
    return [[torch.randn(1, 77, architecture.width, generator=generator), options]]


class RandomModel:
    """An architecture with random weights in the place of a DemoModel; its prompt is always the same random numbers."""

    def __init__(self, name: str, dtype: torch.dtype, device: torch.device, size: int, **changes: Any) -> None:
        self.model, self.conditioning = random_model(name, dtype, device, **changes), random_prompt(name)
        self.shape = (ARCHITECTURES[name].channels, size, size)

    def with_denoiser(self, prompt: str, guidance_scale: float, function: Callable) -> Any:
        return on_model(self.model, self.conditioning, self.conditioning, guidance_scale, self.shape, function)
