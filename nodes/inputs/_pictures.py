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


def check_one_size(given: dict[str, Any]) -> None:
    """Raise ValueError for two sets of pictures, by the names of their inputs, of two sizes, where both are latents or
    both are images."""
    kinds = {isinstance(each, dict) for each in given.values()}
    one, other = (tuple(each["samples"].shape[-2:] if isinstance(each, dict) else each.shape[1:3])
                  for each in given.values())
    if len(kinds) == 1 and one != other:
        (first, second), kind = given, "latents" if kinds.pop() else "images"
        raise ValueError(f"{first} holds {kind} of {one[1]} x {one[0]} and {second} of {other[1]} x {other[0]}: "
                         "sizes are seen in features, too, so connect pictures of one size.")


def latents_of_pictures(pictures: Any, vae: Any) -> dict:
    """The LATENT of a set of pictures, given as one or as images."""
    if isinstance(pictures, dict):
        return pictures
    return {"samples": torch.cat(list(comfyui.encoded_one_by_one(vae, pictures)))}
