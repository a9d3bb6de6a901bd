"""Reading the representation of latents with a MODEL: what nodes that do so share."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from comfy_api.latest import io

from ...dma import execution, representation
from ...dma.representation import MeansMonitor, MeansState, Reading, Representation
from .. import comfyui
from ..comfyui import checkpoints, progress_bar
from ._training import check_training_latents


def reading_prompt() -> io.Conditioning.Input:
    return io.Conditioning.Input("positive",
                                 tooltip="The prompt under which features are read. An empty one, CLIP Text Encode "
                                         "without text, asks what the network sees in a picture by itself.")


def levels_to_read(default: str) -> io.String.Input:
    return io.String.Input("levels", default=default,
                           tooltip="Noise levels at which features are read, as shares of sampling: 0 is pure noise at "
                                   "the start, 1 is clean. Several are kept side by side.")


def draws(default: int) -> io.Int.Input:
    return io.Int.Input("draws", default=default, min=1, max=1000,
                        tooltip="Draws of noise whose features are averaged, at every noise level. The error of the "
                                "mean falls with their square root.")


def represented(model: Any, positive: list, latent: dict, sigmas: Sequence[float], layers: Sequence[str],
                reading: Reading, *, batch_size: int = 0, resume: bool = True) -> dict[str, Representation]:
    """The representations of clean latents, a LATENT, at layers of a MODEL by their own names, under a prompt.

    Raises ValueError, before any work, for a model, prompt or latents that there is nothing to read of.
    """
    comfyui.check_model(model)
    comfyui.check_conditioning(positive, "positive")
    reading.check(sigmas)
    samples = comfyui.samples_of(model, latent)
    check_training_latents(samples)
    clean = comfyui.latents_into_model(model, samples)
    shape, batch = tuple(clean.shape[1:]), execution.batch_of(batch_size)
    key = comfyui.run_key(model, representation.ALGORITHM,
                          {**asdict(reading), "sigmas": list(sigmas), "layers": list(layers), "shape": list(shape)},
                          {"positive": positive}, {"latents": clean})

    def read(denoiser: Any) -> dict[str, Representation]:
        saved = comfyui.saved_run(key, denoiser.of([0]), sigmas, shape) if resume else None
        watchers = [*checkpoints(saved), MeansMonitor(progress_bar(), reading, len(clean), sigmas)]
        return representation.means_of_layers(denoiser, clean, sigmas, layers, reading, batch=batch, watchers=watchers,
                                              state=comfyui.resumed("Reading", MeansState.unpacked, saved))

    return comfyui.with_denoiser(model, positive, positive, 1.0, torch.tensor([*sigmas, 0.0]), shape, reading.seed,
                                 read, layers[-1], latents=len(clean), gradients=False,
                                 at_once=min(batch_size, len(clean) * reading.draws))
