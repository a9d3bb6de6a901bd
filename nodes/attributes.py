"""LoadImageEncoder and AttributeEmbed: encoders from transformers folders, and embeddings that look at one
attribute."""
from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import comfy.model_patcher
import folder_paths
import torch
from comfy_api.latest import io

from ..dma import attributes, image_encoders
from .progress import progress_bar
from .sockets import EMBEDDINGS, IMAGE_ENCODER

FOLDER = "image_encoders"

folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))


@dataclass(frozen=True, eq=False)
class LoadedEncoder:
    """An encoder whose network ComfyUI's memory management moves between the load and the offload device."""

    encoder: image_encoders.ImageEncoder
    patcher: comfy.model_patcher.ModelPatcher

    def on_device(self) -> image_encoders.ImageEncoder:
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
            image_encoders.check_folder(encoder_folder(encoder))
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
        loaded = image_encoders.load(encoder_folder(encoder))
        # In a container of its own, because the patcher sets `device`, which networks of that library do not allow.
        patcher = comfy.model_patcher.ModelPatcher(torch.nn.Sequential(loaded.network),
                                                   load_device=comfy.model_management.text_encoder_device(),
                                                   offload_device=comfy.model_management.text_encoder_offload_device())
        return io.NodeOutput(LoadedEncoder(loaded, patcher))


class AttributeEmbed(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        states = " ".join(f"{name}: {meaning}." for name, meaning in attributes.STATES.items())
        question = io.DynamicCombo.Option("question", [
            io.String.Input("question", default="what is the skin tone?",
                            tooltip="Asked of each picture. Needs a BLIP-VQA encoder."),
            io.Combo.Input("state", options=list(attributes.STATES), default="answer_mean",
                           tooltip=f"Which hidden state is the embedding. {states}"),
        ])
        prompts = io.DynamicCombo.Option("prompts", [
            io.String.Input("prompts", multiline=True, default="light skin\ndark skin",
                            tooltip="One prompt per line, at least two. Needs a CLIP or SigLIP encoder."),
            io.Combo.Input("score", options=list(attributes.SCORES), default="softmax",
                           tooltip="softmax: the probability of each prompt, which adds up to 1. cosine: the plain "
                                   "similarity to each prompt."),
        ])
        return io.Schema(
            node_id="AttributeEmbed", display_name="Attribute Embed", category="dma/modes",
            description="Embeds pictures by one attribute, by asking a question of each or by scoring prompts, so that "
                        "clusters differ in that attribute.",
            search_aliases=["BLIP", "VQA", "question", "grounded", "attribute", "zero-shot"],
            inputs=[
                io.Image.Input("images", tooltip="The pictures."),
                IMAGE_ENCODER.Input("image_encoder",
                                    tooltip="From LoadImageEncoder: a BLIP-VQA for questions, a CLIP or SigLIP for "
                                            "prompts."),
                io.DynamicCombo.Input("method", options=[question, prompts],
                                      tooltip="question: ask a BLIP-VQA about each picture. prompts: compare each "
                                              "picture with prompts by a CLIP."),
            ],
            outputs=[
                EMBEDDINGS.Output("embeddings", display_name="embeddings",
                                  tooltip="One row per picture, for CLIPGMMClusters."),
                io.String.Output("counts", display_name="counts",
                                 tooltip="How many pictures got each answer (or had each prompt as their best), with "
                                         "the share and its 95 % interval."),
                io.String.Output("json", display_name="json",
                                 tooltip="The answer of every picture, the counts and the settings."),
            ],
        )

    @classmethod
    def execute(cls, images, image_encoder, method) -> io.NodeOutput:
        image_encoders.check_images(images)
        encoder = image_encoder.encoder
        if method["method"] == "question":
            attributes.check_question(encoder, method["question"])
            found = attributes.question_states(image_encoder.on_device(), images, method["question"], method["state"],
                                               progress_bar())
        else:
            prompts = [line.strip() for line in method["prompts"].splitlines() if line.strip()]
            attributes.check_prompts(encoder, prompts)
            found = attributes.prompt_scores(image_encoder.on_device(), images, prompts, method["score"],
                                             progress_bar())
        return io.NodeOutput(found, found.table(), found.to_json())
