"""The networks of the demo model as they are trained: ComfyUI's own classes with layers that are initialised."""
from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import weights

COMMON = dict(
    image_size=32, in_channels=4, out_channels=4, model_channels=320, context_dim=768, num_heads=8,
    num_head_channels=-1, use_spatial_transformer=True, use_linear_in_transformer=False, legacy=False,
)
# What ComfyUI takes for Stable Diffusion 1.5: 320 channels, or a multiple, in every level, and a transformer somewhere
# on the way down, where it reads the width of prompts. `transformer_depth` counts the transformer blocks behind each
# residual block on the way down, `transformer_depth_output` those on the way up, in the order of the way down and with
# one more for each level.
UNETS = {
    # Attention, and with it the prompt, only on 4 x 4 positions: 31.6 M.
    "narrow": dict(COMMON, num_res_blocks=[1, 1], channel_mult=[1, 1], transformer_depth=[0, 1],
                   transformer_depth_output=[0, 0, 0, 0], transformer_depth_middle=1),
    # The same number of weights, but the prompt is read on all 8 x 8 positions too, on the way down.
    "attentive": dict(COMMON, num_res_blocks=[1, 1], channel_mult=[1, 1], transformer_depth=[1, 0],
                      transformer_depth_output=[0, 0, 0, 0], transformer_depth_middle=1),
    # It is read on 8 x 8 positions twice on the way up, and the middle has one residual block and no attention: 31.9 M.
    "late": dict(COMMON, num_res_blocks=[1, 1], channel_mult=[1, 1], transformer_depth=[0, 1],
                 transformer_depth_output=[1, 1, 0, 0], transformer_depth_middle=-1),
    # For rehearsals and tests: the smallest that is taken for Stable Diffusion 1.5.
    "tiny": dict(COMMON, num_res_blocks=[1], channel_mult=[1], transformer_depth=[1], transformer_depth_output=[0, 0],
                 transformer_depth_middle=-1),
}
FIRST = "narrow"


class TrainableOperations:
    """The layer classes of torch.nn under the names that ComfyUI's networks ask for, initialised as usual."""

    Linear, Conv2d, GroupNorm, LayerNorm = torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm

    @staticmethod
    def conv_nd(dimensions: int, *arguments: Any, **options: Any) -> torch.nn.Module:
        return {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[dimensions](*arguments, **options)


def import_comfyui(folder: Path) -> None:
    """Make `comfy` importable; ComfyUI reads its device from the command line, so that has to be its own."""
    sys.path.insert(0, str(folder))
    import comfy.options

    sys.argv = [sys.argv[0]] + ([] if torch.cuda.is_available() else ["--cpu"])
    comfy.options.enable_args_parsing()


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build_autoencoder() -> torch.nn.ModuleList:
    """Encoder and decoder of the tiny autoencoder (TAESD)."""
    from comfy.taesd.taesd import Decoder, Encoder

    model = torch.nn.ModuleList([Encoder(), Decoder()])
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            # ComfyUI's layers skip their initialisation because a checkpoint always follows.
            torch.nn.Conv2d.reset_parameters(module)
    return model


def build_unet(name: str = FIRST, dropout: float = 0.0) -> torch.nn.Module:
    """A U-Net of UNETS; `dropout` is that of its residual blocks and changes no weight's name."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    return UNetModel(**copy.deepcopy(UNETS[name]), dropout=dropout, operations=TrainableOperations)


@dataclass(frozen=True)
class StoredNetworks:
    """The networks of demo/weights.safetensors in fp32, under the names that training's own modules have, and what its
    header tells: steps, architecture, the autoencoder's name (weights.py), and the splits that each was trained on."""

    unet: dict[str, torch.Tensor]
    autoencoder: dict[str, torch.Tensor]
    autoencoder_steps: int
    unet_steps: int
    architecture: str
    autoencoder_name: str
    split: str
    unet_split: str
    decoder_steps: int


def stored_networks(path: Path | None = None) -> StoredNetworks:
    found, header = weights.load(path or weights.PATH)
    parts: dict[str, dict[str, torch.Tensor]] = {"unet": {}, "encoder": {}, "decoder": {}}
    for name, value in found.items():
        part, _, key = name.partition(".")
        parts[part][key] = value.float()
    autoencoder = {f"{index}.{key}": value for index, part in enumerate(("encoder", "decoder"))
                   for key, value in parts[part].items()}
    return StoredNetworks(parts["unet"], autoencoder, int(header["autoencoder_steps"]), int(header["denoiser_steps"]),
                          header.get("architecture", FIRST), header.get("autoencoder", weights.FIRST_AUTOENCODER),
                          header.get("split", weights.UNKNOWN_SPLIT),
                          header.get("denoiser_split", weights.UNKNOWN_SPLIT), int(header.get("decoder_steps", 0)))
