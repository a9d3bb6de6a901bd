"""How far the layers of a direction move what a MODEL predicts."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...dma import execution, representation, steering
from ...dma.execution import PassMonitor
from ...dma.steering import Direction
from .. import comfyui, inputs
from ..comfyui import progress_bar

# Shares of sampling. Before, there is no picture yet; behind, what is added hardly changes it any more.
LEVELS = "0.3, 0.45, 0.6"
SHOWN = 8  # pictures of either set that are predicted


def movements_of(model: Any, positive: list, direction: Direction, sets: Sequence[Tensor], seed: int,
                 batch_size: int) -> dict[str, Tensor]:
    """By layer of a direction: how far the mean predictions (S, C, H, W) of some latents of two sets (N, C, H, W) move
    at each of `LEVELS` when the layer's vector is added once."""
    clean = torch.cat([spaced(each, SHOWN) for each in sets])
    sigmas, shape = inputs.noise_levels(model, LEVELS), tuple(clean.shape[1:])
    noise = representation.reading_noise(len(clean), shape, seed)
    models = {"": model} | {layer: comfyui.steered_model(model, direction, [layer], 1.0, 0.0, 1.0, False)
                            for layer in direction.layers}
    monitor = PassMonitor(progress_bar(), "where layers lead", passes=len(models) * len(sigmas))

    def predicted(patched: Any) -> Tensor:
        return comfyui.with_denoiser(
            patched, positive, positive, 1.0, torch.tensor([*sigmas, 0.0]), shape, seed,
            lambda denoiser: execution.drive(steering.mean_predictions(
                denoiser, clean, noise, sigmas, execution.batch_of(batch_size)), None, [monitor]),
            layer=None, gradients=False)

    found = {layer: predicted(patched) for layer, patched in models.items()}  # (S, C, H, W) each
    return {layer: found[layer] - found[""] for layer in direction.layers}


def spaced(latents: Tensor, most: int) -> Tensor:
    """At most so many of the latents (N, C, H, W), from all over the set."""
    count = min(most, len(latents))
    return latents[[number * len(latents) // count for number in range(count)]]
