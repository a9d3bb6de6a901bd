"""Image encoders of the transformers library under ComfyUI: where their folders are, and who moves their networks."""
from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import folder_paths
import torch

from ...dma import encoders

IMAGE_ENCODERS = "image_encoders"  # the folder under models, and its name among ComfyUI's model folders

folder_paths.add_model_folder_path(IMAGE_ENCODERS, os.path.join(folder_paths.models_dir, IMAGE_ENCODERS))


@dataclass(frozen=True, eq=False)
class LoadedEncoder:
    """An encoder whose network ComfyUI's memory management moves between the load and the offload device."""

    encoder: encoders.ImageEncoder
    patcher: comfy.model_patcher.ModelPatcher

    def on_device(self) -> encoders.ImageEncoder:
        # The layers are those of torch, which cannot work with half of their weights elsewhere: all or nothing.
        comfy.model_management.load_models_gpu([self.patcher], force_full_load=True)
        return self.encoder


def encoder_names() -> list[str]:
    """Folders with a config.json, up to two levels under the registered model folders."""
    roots = map(Path, folder_paths.get_folder_paths(IMAGE_ENCODERS))
    found = {path.parent.relative_to(root).as_posix() for root in roots
             for pattern in ("*/config.json", "*/*/config.json") for path in root.glob(pattern)}
    return sorted(found)


def encoder_folder(name: str) -> Path:
    """The folder of an encoder by its name relative to a registered model folder.

    Raises ValueError with what to put where if there is none, or if the name leads out of those folders.
    """
    roots = [Path(os.path.abspath(root)) for root in folder_paths.get_folder_paths(IMAGE_ENCODERS)]
    for root in roots:
        # Not resolved: people link model folders from other disks.
        folder = Path(os.path.abspath(root / name))
        if folder.is_relative_to(root) and folder != root and folder.is_dir():
            return folder
    raise ValueError(f"There is no image encoder {name!r} under {' or '.join(map(str, roots))}: put a CLIP, SigLIP, "
                     "DINOv2 or BLIP-VQA folder in the format of the transformers library there (config.json, "
                     "preprocessor_config.json, model.safetensors, tokenizer files) and refresh the page.")


def managed_encoder(encoder: encoders.ImageEncoder) -> LoadedEncoder:
    """An encoder in the hands of ComfyUI's memory management."""
    # In a container of its own, because the patcher sets `device`, which networks of that library do not allow.
    patcher = comfy.model_patcher.ModelPatcher(torch.nn.Sequential(encoder.network),
                                               load_device=comfy.model_management.text_encoder_device(),
                                               offload_device=comfy.model_management.text_encoder_offload_device())
    return LoadedEncoder(encoder, patcher)
