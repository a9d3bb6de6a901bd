"""Inputs that grow as latents are connected."""
from __future__ import annotations

import torch
from comfy_api.latest import io
from torch import Tensor

from ..comfyui import described, finite, image_latents

MOST_LATENTS = 100  # as many inputs as ComfyUI lets grow; each may be a batch


def growing_latents() -> io.Autogrow.Input:
    """An input for the noise of inversions that grows as latents are connected; `joined_noise` reads its value."""
    latents = io.Autogrow.TemplatePrefix(io.Latent.Input("latents",
                                                         tooltip="Noise of an inversion: one latent or a batch."),
                                         prefix="latents", min=1, max=MOST_LATENTS)
    return io.Autogrow.Input("latents", template=latents,
                             tooltip="Latents of one size, from an inversion; a new input appears as you connect. "
                                     "Batches are joined in the order of the inputs.")


def joined_noise(latents: dict[str, dict]) -> Tensor:
    """The latents (N, C, H, W) in fp32 of all connected inputs. Raises ValueError, naming the input, unless they
    match."""
    connected = {name: latent for name, latent in latents.items() if latent is not None}
    if not connected:
        raise ValueError("No latents are connected: connect the noise of at least one inverted picture.")
    batches = {name: finite(image_latents(latent, f"The input {name}"), f"The input {name}")
               for name, latent in connected.items()}
    (first, reference), *others = batches.items()
    for name, batch in others:
        if batch.shape[1:] != reference.shape[1:]:
            raise ValueError(f"The input {name} holds latents of {described(batch)}, but {first} of "
                             f"{described(reference)}: mix latents of one model and picture size.")
    return torch.cat([batch.to("cpu", torch.float32) for batch in batches.values()])
