"""LoadImageEncoder: image encoders from folders of the transformers library."""
from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import folder_paths
import torch
from comfy_api.latest import io

from ...dma import encoders
from ..inputs import IMAGE_ENCODER

FOLDER = "image_encoders"

folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))


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
    found = {path.parent.relative_to(root).as_posix() for root in map(Path, folder_paths.get_folder_paths(FOLDER))
             for pattern in ("*/config.json", "*/*/config.json") for path in root.glob(pattern)}
    return sorted(found)


def encoder_folder(name: str) -> Path:
    """The folder of an encoder by its name relative to a registered model folder.

    Raises ValueError with what to put where if there is none, or if the name leads out of those folders.
    """
    roots = [Path(os.path.abspath(root)) for root in folder_paths.get_folder_paths(FOLDER)]
    for root in roots:
        # Not resolved: people link model folders from other disks.
        folder = Path(os.path.abspath(root / name))
        if folder.is_relative_to(root) and folder != root and folder.is_dir():
            return folder
    raise ValueError(f"There is no image encoder {name!r} under {' or '.join(map(str, roots))}: put a CLIP, SigLIP, "
                     "DINOv2 or BLIP-VQA folder in the format of the transformers library there (config.json, "
                     "preprocessor_config.json, model.safetensors, tokenizer files) and refresh the page.")


class LoadImageEncoder(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LoadImageEncoder", display_name="Load Image Encoder", category="dma/modes",
            description="Loads a CLIP, SigLIP, DINOv2 or BLIP-VQA folder in the format of the transformers library, "
                        "from local files only.",
            search_aliases=["CLIP", "SigLIP", "DINOv2", "BLIP", "VQA", "transformers"],
            inputs=[io.Combo.Input("encoder", options=encoder_names(),
                                   tooltip="A folder under models/image_encoders with config.json, "
                                           "preprocessor_config.json, model.safetensors and, for prompts and "
                                           "questions, the tokenizer's files. Nothing is ever downloaded.")],
            outputs=[IMAGE_ENCODER.Output("image_encoder", display_name="image_encoder",
                                          tooltip="For CLIPGMMClusters and AttributeEmbed.")],
        )

    @classmethod
    def validate_inputs(cls, encoder=None) -> bool | str:
        if encoder is None:  # linked: not known before the graph runs
            return True
        try:
            encoders.check_folder(encoder_folder(encoder))
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, encoder=None) -> str:
        try:
            # A linked name is not known yet: then the files of any encoder may be meant.
            files = sorted(path for name in (encoder_names() if encoder is None else [encoder])
                           for path in encoder_folder(name).iterdir())
        except ValueError:
            return ""
        return str([(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file()])

    @classmethod
    def execute(cls, encoder) -> io.NodeOutput:
        loaded = encoders.load_encoder(encoder_folder(encoder))
        # In a container of its own, because the patcher sets `device`, which networks of that library do not allow.
        patcher = comfy.model_patcher.ModelPatcher(torch.nn.Sequential(loaded.network),
                                                   load_device=comfy.model_management.text_encoder_device(),
                                                   offload_device=comfy.model_management.text_encoder_offload_device())
        return io.NodeOutput(LoadedEncoder(loaded, patcher))
