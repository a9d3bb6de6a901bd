"""How far a direction moves what a MODEL predicts, and its layers weighted by it."""
from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
# Part of the key of every saved prediction. Raise the number when the same settings give others than before.
ALGORITHM = "movements 1"


def weighted_direction(model: Any, positive: list, direction: Direction, sets: Sequence[Tensor], way: Tensor, seed: int,
                       batch_size: int, resume: bool) -> Direction:
    """The direction with layers weighted so that together they lead along a way (C, H, W) between two sets of clean
    latents (N, C, H, W): by how far predictions of some of them move, at each of `LEVELS`, when the vector of a layer
    is added once. `lead` and `cosine` are measured with all layers together. With `resume` every prediction is kept on
    disk as soon as it is there.
    """
    clean = torch.cat([spaced(each, SHOWN) for each in sets])
    sigmas, shape = inputs.noise_levels(model, LEVELS), tuple(clean.shape[1:])
    noise = representation.reading_noise(len(clean), shape, seed)
    batch = execution.choose_batch(execution.batch_of(batch_size), shape)  # one that was too large stays smaller
    monitor = PassMonitor(progress_bar(), "where layers lead", passes=(len(direction.layers) + 2) * len(sigmas))

    def asked(patched: Any, function: Callable[[Any], Any]) -> Any:
        return comfyui.with_denoiser(patched, positive, positive, 1.0, torch.tensor([*sigmas, 0.0]), shape, seed,
                                     function, layer=None, gradients=False, at_once=min(batch_size, len(clean)))

    def predicted(patched: Any) -> Tensor:
        return asked(patched, lambda denoiser: execution.drive(
            steering.mean_predictions(denoiser, clean, noise, sigmas, batch), None, [monitor]))

    kept = None
    if resume:
        def place(denoiser: Any) -> execution.RunState:
            # What computes is in the key: a movement is the small difference of two predictions.
            key = comfyui.run_key(model, ALGORITHM, {
                "sigmas": list(sigmas), "shape": list(shape), "seed": seed, **comfyui.computed_by(denoiser)},
                {"positive": positive}, {"clean": clean})
            return comfyui.saved_run(key, denoiser, sigmas, shape)

        kept = _Kept(asked(model, place), monitor)
    usual = _found_or_made(kept, "", lambda: predicted(model))  # (S, C, H, W)

    def moved_by(changed: Direction, layers: list[str]) -> Tensor:
        added = execution.run_key({layer: changed.layers[layer].weight for layer in layers},
                                  {layer: changed.layers[layer].vector for layer in layers})
        try:
            patched = comfyui.steered_model(model, changed, layers, 1.0, 0.0, 1.0, False)
            found = _found_or_made(kept, added, lambda: predicted(patched)) - usual
        except ValueError as error:
            raise ValueError(f"Where the direction leads at {', '.join(layers)} cannot be told: {error}") from error
        return found.float()  # kept of every layer: in fp64 twice as much

    found = steering.weighted_to_lead(direction, {layer: moved_by(direction, [layer]) for layer in direction.layers},
                                      way)
    moved = moved_by(found, list(found.layers))
    if kept is not None and kept.found:
        logging.info("DirectionFromPictures: %d of %d predictions of where layers lead were found again.", kept.found,
                     len(direction.layers) + 2)
    return replace(found, lead=steering.lead(moved, way), cosine=steering.straightness(moved, way))


@dataclass
class _Kept:
    """The predictions of one run on disk, a file for each: what is kept of all layers is large."""

    place: execution.RunState
    monitor: PassMonitor
    found: int = 0


def _found_or_made(kept: _Kept | None, added: str, make: Callable[[], Tensor]) -> Tensor:
    """Mean predictions (S, C, H, W) with the vectors of the key `added`, from disk or made and written there."""
    if kept is None:
        return make()
    own = replace(kept.place, key=f"{kept.place.key}-{added[:16]}")
    saved = own.load()
    if saved is not None:
        means = saved[0]["means"]
        kept.found += 1
        kept.monitor.ended += len(means)
        return means
    means = make()
    own.save({"means": means}, {})
    return means


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
