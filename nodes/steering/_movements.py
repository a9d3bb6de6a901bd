"""How far a direction moves what a MODEL predicts, and its layers weighted by it."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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


def weighted_direction(model: Any, positive: list, direction: Direction, sets: Sequence[Tensor], way: Tensor, seed: int,
                       batch_size: int) -> Direction:
    """The direction with layers weighted so that together they lead along a way (C, H, W) between two sets of clean
    latents (N, C, H, W): by how far predictions of some of them move, at each of `LEVELS`, when the vector of a layer
    is added once. `lead` and `cosine` are measured with all layers together.
    """
    clean = torch.cat([spaced(each, SHOWN) for each in sets])
    sigmas, shape = inputs.noise_levels(model, LEVELS), tuple(clean.shape[1:])
    noise = representation.reading_noise(len(clean), shape, seed)
    batch = execution.choose_batch(execution.batch_of(batch_size), shape)  # one that was too large stays smaller
    monitor = PassMonitor(progress_bar(), "where layers lead", passes=(len(direction.layers) + 2) * len(sigmas))

    def predicted(patched: Any) -> Tensor:
        return comfyui.with_denoiser(
            patched, positive, positive, 1.0, torch.tensor([*sigmas, 0.0]), shape, seed,
            lambda denoiser: execution.drive(steering.mean_predictions(denoiser, clean, noise, sigmas, batch), None,
                                             [monitor]), layer=None, gradients=False, at_once=batch_size)

    usual = predicted(model)  # (S, C, H, W)

    def moved_by(changed: Direction, layers: list[str]) -> Tensor:
        try:
            found = predicted(comfyui.steered_model(model, changed, layers, 1.0, 0.0, 1.0, False)) - usual
        except ValueError as error:
            raise ValueError(f"Where the direction leads at {', '.join(layers)} cannot be told: {error}") from error
        return found.float()  # kept of every layer: in fp64 twice as much

    found = steering.weighted_to_lead(direction, {layer: moved_by(direction, [layer]) for layer in direction.layers},
                                      way)
    moved = moved_by(found, list(found.layers))
    return replace(found, lead=steering.lead(moved, way), cosine=steering.straightness(moved, way))


def check_predicted(model: Any, positive: list, shape: tuple[int, ...], seed: int) -> None:
    """Raise ValueError for a prompt under which pictures of two sets cannot be predicted together: one that is not
    active at all of `LEVELS`, or with one entry for each latent of a batch, such as hints of a ControlNet."""
    levels = inputs.noise_levels(model, LEVELS)
    comfyui.check_active(model, positive, "positive", levels)
    comfyui.with_denoiser(model, positive, positive, 1.0, torch.tensor([*levels, 0.0]), shape, seed,
                          lambda denoiser: None, layer=None, gradients=False)


def spaced(latents: Tensor, most: int) -> Tensor:
    """At most so many of the latents (N, C, H, W), from all over the set."""
    count = min(most, len(latents))
    return latents[[number * len(latents) // count for number in range(count)]]
