"""Embeddings of pictures by whichever encoder is connected."""
from __future__ import annotations

from typing import Any

from torch import Tensor

from ...dma import encoders
from ..comfyui import identity_of_loaded, reading_pictures

DIGITS = 8  # of a CLIP_VISION's identity, which has no name


def picture_embeddings(images: Tensor, clip_vision: Any, image_encoder: Any) -> Tensor:
    """Unit-length embeddings (N, D) of pictures by an encoder of LoadImageEncoder, or else by a CLIP_VISION."""
    if image_encoder is not None:
        return encoders.embed_images(image_encoder.on_device(), images, watchers=reading_pictures())
    return encoders.unit_embeddings(images,
                                    lambda pictures: clip_vision.encode_image(pictures[..., :3])["image_embeds"],
                                    watchers=reading_pictures())


def check_one_encoder(clip_vision: Any, image_encoder: Any) -> str:
    """What pictures are compared by, in words, "" for nothing. Raises ValueError if two encoders are connected."""
    if clip_vision is not None and image_encoder is not None:
        raise ValueError("clip_vision and image_encoder are both connected, but pictures are compared by one of them: "
                         "disconnect the other.")
    if image_encoder is not None:
        encoder = image_encoder.encoder
        if encoder.kind == "image_reward":
            raise ValueError(f"{encoder.name} is an ImageReward, which scores pictures and does not compare them: "
                             "connect a CLIP, SigLIP, DINOv2, BLIP or DreamSim to image_encoder.")
        return encoder.name
    return "" if clip_vision is None else "clip_vision"


def encoder_name(clip_vision: Any, image_encoder: Any) -> str:
    """`check_one_encoder`, where a CLIP_VISION's weights tell it from another one."""
    source = check_one_encoder(clip_vision, image_encoder)
    known = image_encoder is None and hasattr(clip_vision, "patcher")
    return f"{source} {identity_of_loaded(clip_vision)[:DIGITS]}" if known else source


def reads_prompts(image_encoder: Any) -> bool:
    """Whether an encoder is connected that compares pictures with a prompt."""
    return (image_encoder is not None and image_encoder.encoder.kind in encoders.COMPARES_PROMPTS
            and image_encoder.encoder.tokenizer is not None)


def check_reads_prompts(image_encoder: Any) -> None:
    """Raise ValueError unless an encoder is connected that compares pictures with a prompt."""
    if image_encoder is None:
        raise ValueError("A prompt is compared with pictures by a CLIP or SigLIP from LoadImageEncoder: connect one to "
                         "image_encoder, or leave the prompt empty. ComfyUI's CLIP Vision reads no text.")
    encoder = image_encoder.encoder
    if not reads_prompts(image_encoder):
        raise ValueError(f"{encoder.name} is a {encoder.kind} model"
                         f"{' without a tokenizer' * (encoder.kind in encoders.COMPARES_PROMPTS)}, which does not "
                         "compare pictures with a prompt: load a whole CLIP or SigLIP folder, or leave the prompt "
                         "empty.")


def prompt_embedding(image_encoder: Any, prompt: str) -> Tensor:
    """The unit-length embedding (1, D) of a prompt by an encoder of LoadImageEncoder."""
    check_reads_prompts(image_encoder)
    return encoders.embed_texts(image_encoder.on_device(), [prompt])
