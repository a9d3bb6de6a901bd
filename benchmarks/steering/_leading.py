"""Where each layer of a direction leads: what adding it does to predictions of clean pictures."""
from __future__ import annotations

from pathlib import Path

import torch
from _directions import ALL, Target, Way, direction_of, layers_of, pictures_of
from support import SCHEDULER, STEPS, DemoModel, on_model
from torch import Tensor

import pack
from mental_averages.dma.diffusion import add_noise, starting_noise

LEVELS = [0.3, 0.6, 0.9]  # as shares of sampling
SHOWN, SEED = 8, 5  # pictures of either set whose predictions are looked at, and the noise on them


def leading(demo: DemoModel, target: Target, folder: Path, count: int, draws: int) -> dict[str, list[float]]:
    """By layer, at each of `LEVELS`: the share of the way from the mean latent of the pictures without the target to
    that of those with it by which predictions move when the layer's direction is added once. Below 0 they move away."""
    from mental_averages.nodes import comfyui

    direction = direction_of(demo, target, Way(0.0, where=ALL), folder, count, draws)
    with_it, without = (demo.latents_of(pictures) for pictures in pictures_of(target, folder, count))
    way = with_it.mean(0) - without.mean(0)  # (C, H, W)
    clean = torch.cat([with_it[:SHOWN], without[:SHOWN]])
    noise = starting_noise(len(clean), demo.shape, SEED)
    sampling = demo.model.get_model_object("model_sampling")
    found: dict[str, list[float]] = {layer: [] for layer in layers_of(comfyui.layer_names(demo.model), ALL)}
    for level in LEVELS:
        sigma = float(sampling.percent_to_sigma(level))

        def predicted(model, sigma: float = sigma) -> Tensor:
            def ask(denoiser, _) -> Tensor:
                return denoiser.denoise(add_noise(denoiser.parametrization, clean, noise, sigma), sigma)

            return on_model(model, demo.encode([""]), pack.encode_prompt(demo.clip, ""), 1.0, demo.shape, ask,
                            steps=STEPS, scheduler=SCHEDULER, layer=None, gradients=False)

        plain = predicted(demo.model)
        for layer, values in found.items():
            moved = (predicted(comfyui.steered_model(demo.model, direction, [layer], 1.0, 0.0, 1.0, False))
                     - plain).mean(0)
            values.append(((moved * way).sum() / way.square().sum()).item())
    return found
