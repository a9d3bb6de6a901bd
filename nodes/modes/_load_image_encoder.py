"""LoadImageEncoder: image encoders from folders of the transformers library."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma import encoders
from ..comfyui import encoder_folder, encoder_names, managed_encoder
from ..inputs import IMAGE_ENCODER, category, checked


class LoadImageEncoder(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LoadImageEncoder", display_name="Load Image Encoder", category=category("modes"),
            description="Loads a CLIP, SigLIP, DINOv2 or BLIP-VQA folder in the format of the transformers library, "
                        "or a DreamSim or ImageReward folder, from local files only.",
            search_aliases=["CLIP", "SigLIP", "DINOv2", "BLIP", "VQA", "DreamSim", "ImageReward", "transformers"],
            inputs=[io.Combo.Input("encoder", options=encoder_names(),
                                   tooltip="A folder under models/image_encoders with config.json, "
                                           "preprocessor_config.json, model.safetensors and, for prompts and "
                                           "questions, the tokenizer's files. Nothing is ever downloaded.")],
            outputs=[IMAGE_ENCODER.Output("image_encoder", display_name="image_encoder",
                                          tooltip="For CLIPGMMClusters, AttributeEmbed, CompareSets and "
                                                  "ScorePictures.")],
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
    @checked()
    def execute(cls, encoder) -> io.NodeOutput:
        return io.NodeOutput(managed_encoder(encoders.load_encoder(encoder_folder(encoder))))
