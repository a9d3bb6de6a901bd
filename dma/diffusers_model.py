"""The Denoiser of a diffusers pipeline, for work outside ComfyUI."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .diffusion import Parametrization, denoised_from_output, paper_scale
from .early_exit import output_of

PARAMETRIZATIONS = {"epsilon": Parametrization.EPS, "v_prediction": Parametrization.V}


class DiffusersDenoiser:
    """`dma.denoiser.Denoiser` of a UNet2DConditionModel with a discrete noise schedule (Stable Diffusion 1.x, 2.x).

    prompt, negative: text encoder outputs (1, T, D). layer: name of a sub-module of the U-Net, such as "mid_block".
    branch: "conditional" or "unconditional", the prompt under which features are read.
    """

    def __init__(self, unet: Any, scheduler: Any, prompt: Tensor, negative: Tensor, guidance_scale: float = 7.0,
                 layer: str = "mid_block", branch: str = "conditional"):
        kind = scheduler.config.prediction_type
        if kind not in PARAMETRIZATIONS:
            raise ValueError(f"The scheduler predicts {kind!r}; supported are {', '.join(PARAMETRIZATIONS)}.")
        if unet.config.in_channels != unet.config.out_channels:
            raise ValueError("This U-Net takes more channels than it predicts: it is an inpainting model.")
        self.parametrization = PARAMETRIZATIONS[kind]
        self.unet, self.layer, self.guidance_scale = unet, unet.get_submodule(layer), guidance_scale
        self.prompt, self.negative = prompt, negative
        self.feature_prompt = prompt if branch == "conditional" else negative
        self.device = next(unet.parameters()).device
        cumulative = scheduler.alphas_cumprod.double()
        self.sigmas = ((1 - cumulative) / cumulative).sqrt()  # (T,), rising with the timestep

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        with torch.no_grad():
            output = self._run(x, sigma, self.prompt)
            if self.guidance_scale != 1.0:
                unconditional = self._run(x, sigma, self.negative)
                output = unconditional + self.guidance_scale * (output - unconditional)
        return denoised_from_output(self.parametrization, output.float(), x, sigma)

    def features(self, x: Tensor, sigma: float) -> Tensor:
        features = output_of(self.layer, lambda: self._run(x, sigma, self.feature_prompt))
        if features is None:
            raise ValueError("The chosen layer did not run in a forward pass: choose a block of the U-Net, such as mid_block.")
        return features.float()

    def _run(self, x: Tensor, sigma: float, prompt: Tensor) -> Tensor:
        timestep = int((self.sigmas.log() - torch.tensor(sigma, dtype=torch.float64).log()).abs().argmin())
        z = (x * paper_scale(self.parametrization, sigma)).to(self.unet.dtype)
        return self.unet(z, timestep, encoder_hidden_states=prompt.expand(len(x), -1, -1)).sample


def from_pipeline(pipe: Any, prompt: str, negative_prompt: str = "", guidance_scale: float = 7.0,
                  layer: str = "mid_block", branch: str = "conditional") -> DiffusersDenoiser:
    """The Denoiser of a StableDiffusionPipeline with a prompt.

    Raises ValueError for pipelines without a text-conditioned U-Net of that kind.
    """
    from diffusers import UNet2DConditionModel

    unet = getattr(pipe, "unet", None)
    if not isinstance(unet, UNet2DConditionModel) or unet.config.addition_embed_type is not None:
        raise ValueError(f"{type(pipe).__name__} is not supported: use a pipeline of Stable Diffusion 1.x or 2.x.")
    unet.requires_grad_(False)
    positive, negative = pipe.encode_prompt(prompt, unet.device, 1, True, negative_prompt=negative_prompt)
    return DiffusersDenoiser(unet, pipe.scheduler, positive, negative, guidance_scale, layer, branch)


def ddim_sigmas(scheduler: Any, steps: int) -> Tensor:
    """The noise levels (steps + 1,) of a diffusers scheduler's timesteps, ending in 0."""
    scheduler.set_timesteps(steps)
    cumulative = scheduler.alphas_cumprod[scheduler.timesteps.cpu().long()].double()
    return torch.cat([((1 - cumulative) / cumulative).sqrt(), torch.zeros(1, dtype=torch.float64)]).float()
