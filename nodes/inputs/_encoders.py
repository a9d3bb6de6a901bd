"""Embeddings of pictures by whichever encoder is connected."""
from __future__ import annotations

from typing import Any

from torch import Tensor

from ...dma import encoders
from ..comfyui import reading_pictures


def picture_embeddings(images: Tensor, clip_vision: Any, image_encoder: Any) -> Tensor:
    """Unit-length embeddings (N, D) of pictures by an encoder of LoadImageEncoder, or else by a CLIP_VISION."""
    if image_encoder is not None:
        return encoders.embed_images(image_encoder.on_device(), images, watchers=reading_pictures())
    return encoders.unit_embeddings(images,
                                    lambda pictures: clip_vision.encode_image(pictures[..., :3])["image_embeds"],
                                    watchers=reading_pictures())
