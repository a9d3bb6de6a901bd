"""The demo checkpoint in ComfyUI, or any other MODEL, as a Denoiser."""
from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pack

from ._judge import FeatureSpace

STEPS = 20
SCHEDULER = "ddim_uniform"
GUIDANCE = 4.0  # the demo model's colours are nearer to the artwork's than at 7 (demo/MODEL_CARD.md)


def on_model(model: Any, positive: list, negative: list, guidance_scale: float, shape: tuple[int, ...],
             function: Callable, *, steps: int = STEPS, scheduler: str = SCHEDULER, **options: Any) -> Any:
    """Call `function(denoiser, sigmas)` on a MODEL's Denoiser; its result is returned as it is."""
    from mental_averages.nodes import comfyui

    sigmas = comfyui.sigmas_of(model, scheduler, steps)
    return comfyui.with_denoiser(model, positive, negative, guidance_scale, sigmas, shape, 0,
                                 lambda denoiser: function(denoiser, sigmas), **options)


class DemoModel:
    """The demo checkpoint (or another for such pictures) in ComfyUI, with prompts encoded and latents decoded by
    core."""

    def __init__(self, checkpoint: Path | None = None) -> None:
        pack.load_comfyui()
        self.model, self.clip, self.vae = pack.load_checkpoint(checkpoint or pack.demo_checkpoint())
        self.shape = (self.model.model.latent_format.latent_channels, 8, 8)

    def encode(self, prompts: list[str]) -> list:
        """One CONDITIONING of a prompt for each latent of a batch."""
        embeddings, options = zip(*(pack.encode_prompt(self.clip, prompt)[0] for prompt in prompts))
        return [[torch.cat(embeddings), {"pooled_output": torch.cat([option["pooled_output"] for option in options])}]]

    def with_denoiser(self, prompt: str | list[str], guidance_scale: float, function: Callable, steps: int = STEPS,
                      scheduler: str = SCHEDULER, **options) -> Any:
        """Call `function(denoiser, sigmas)` on the prompt's Denoiser; its result is returned as it is.

        A list holds a prompt for each latent; the Denoiser must then be called with all of them at once.
        """
        prompts = [prompt] if isinstance(prompt, str) else prompt
        return on_model(self.model, self.encode(prompts), pack.encode_prompt(self.clip, ""), guidance_scale, self.shape,
                        function, steps=steps, scheduler=scheduler, **options)

    def latents_of(self, pictures: Tensor) -> Tensor:
        """Latents in the model's units of pictures (N, H, W, 3) in [0, 1]."""
        from mental_averages.nodes import comfyui

        with torch.inference_mode():
            clean = torch.cat([self.vae.encode(chunk) for chunk in pictures.split(64)]).clone()
        return comfyui.latents_into_model(self.model, clean)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (N, H, W, 3) in [0, 1] of latents in the model's units."""
        with torch.inference_mode():
            return self.vae.decode(self.model.model.process_latent_out(latents)).clone()

    def restore(self, pictures: Tensor) -> Tensor:
        """Pictures (N, H, W, 3) through the autoencoder and back."""
        with torch.inference_mode():
            return torch.cat([self.vae.decode(self.vae.encode(chunk))
                              for chunk in pictures.split(64)]).clamp(0, 1).clone()


@functools.cache
def demo_and_judge(transformer: bool = False) -> tuple[DemoModel, FeatureSpace]:
    """The demo U-Net, or the demo transformer, and the judge: once in each process."""
    return DemoModel(pack.demo_transformer() if transformer else None), FeatureSpace()
