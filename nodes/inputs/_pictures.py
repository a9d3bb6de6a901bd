"""Pictures that come as latents or as images."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

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


def check_one_size(given: dict[str, Any], vae: Any) -> None:
    """Raise ValueError for two sets of pictures, by the names of their inputs, whose latents are of two sizes."""
    if len({_latent_size(pictures, vae) for pictures in given.values()}) > 1:
        first, second = (f"{name} holds {_size_told(pictures, vae)}" for name, pictures in given.items())
        raise ValueError(f"{first}, but {second}: sizes are seen in features, too, so connect pictures of one size.")


def _latent_size(pictures: Any, vae: Any) -> tuple[int, int]:
    """Width and height of the latents of a set of pictures, before a VAE is asked for them."""
    if isinstance(pictures, dict):
        height, width = pictures["samples"].shape[-2:]
        return width, height
    height, width = vae.vae_encode_crop_pixels(pictures[:1]).shape[1:3]
    factor = vae.spacial_compression_encode()
    return width // factor, height // factor


def _size_told(pictures: Any, vae: Any) -> str:
    width, height = _latent_size(pictures, vae)
    latents = f"latents of {width} x {height}"
    return (latents if isinstance(pictures, dict) else
            f"images of {pictures.shape[2]} x {pictures.shape[1]}, which become {latents}")


def latents_of_pictures(pictures: Any, vae: Any) -> dict:
    """The LATENT of a set of pictures, given as one or as images."""
    if isinstance(pictures, dict):
        return pictures
    return {"samples": torch.cat(list(comfyui.encoded_one_by_one(vae, pictures)))}


def on_white(pictures: Tensor) -> Tensor:
    """The colours (N, H, W, 3) that pictures show on a white page: what they hide under an alpha channel is not seen,
    and a black drawing whose shape is its alpha alone is."""
    if pictures.shape[-1] != 4:
        return pictures
    alpha = pictures[..., 3:].clamp(0, 1)
    return pictures[..., :3] * alpha + (1 - alpha)
