"""Pictures that come as latents or as images."""
from __future__ import annotations

from typing import Any

import torch

from .. import comfyui
from ._batches import check_batch


def count_of_pictures(model: Any, pictures: Any, vae: Any, name: str) -> int:
    """How many pictures an input `name` holds, a LATENT or images. Raises ValueError where the MODEL has no use for
    them, and for images without a VAE of its own."""
    if isinstance(pictures, dict):
        return len(comfyui.samples_of(model, pictures))
    if vae is None:
        raise ValueError(f"{name} holds images: connect the vae of the model as well, or latents in their place.")
    comfyui.check_vae(vae, model)
    check_batch(pictures, name)
    return len(pictures)


def latents_of_pictures(pictures: Any, vae: Any) -> dict:
    """The LATENT of a set of pictures, given as one or as images."""
    if isinstance(pictures, dict):
        return pictures
    return {"samples": torch.cat(list(comfyui.encoded_one_by_one(vae, pictures)))}
