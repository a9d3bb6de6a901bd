"""The Denoiser of a diffusers pipeline, for work outside ComfyUI.

    from diffusers import StableDiffusion3Pipeline
    from dma import alignment, models

    pipe = StableDiffusion3Pipeline.from_pretrained(folder, torch_dtype=torch.bfloat16).to("cuda")
    denoiser = models.from_pipeline(pipe, "a photo of a castle", guidance_scale=4.5)
    sigmas = models.ddim_sigmas(pipe.scheduler, steps=20)
    average = alignment.align(denoiser, sigmas, (16, 64, 64), alignment.AlignmentSettings(count=64))
    latents = average.latents / pipe.vae.config.scaling_factor + (pipe.vae.config.shift_factor or 0)
    pictures = pipe.image_processor.postprocess(pipe.vae.decode(latents.to(pipe.vae)).sample.detach())
"""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..choices import check_choice
from ..diffusion import Parametrization, check_falling, denoised_from_output, paper_scale
from ..precision import in_double
from ._hooks import output_of

PARAMETRIZATIONS = {"epsilon": Parametrization.EPS, "v_prediction": Parametrization.V}
AUTO_LAYER = "auto"
BRANCHES = ("conditional", "unconditional")
ROUNDINGS = 4  # of the type that a network computes in, in its answers
# What ComfyUI takes for the last level of a schedule with zero terminal signal, whose sigma would be infinite.
SMALLEST_CUMULATIVE_ALPHA = 4.8973451890853435e-08


class DiffusersDenoiser:
    """`dma.diffusion.Denoiser` of a UNet2DConditionModel (Stable Diffusion 1.x, 2.x, SDXL) or SD3Transformer2DModel.

    scheduler: one with a discrete noise schedule, or a flow-matching one for SD3.
    prompt, negative: the text encoder's output (1, T, D), or a dict of all arguments of the network that belong to a
    prompt, with tensors of one row: `encoder_hidden_states`, `pooled_projections`, `added_cond_kwargs`.
    layer: name of a sub-module of the network, such as "mid_block" or "transformer_blocks.11"; "auto" is a U-Net's
    middle block and a transformer's last one. branch: "conditional" or "unconditional", the prompt under which features
    are read. Features are maps (B, C, h, w); of a transformer those of the image tokens.

    Raises ValueError for inpainting networks, schedulers that predict something else, and unknown branches.
    """

    def __init__(self, network: Any, scheduler: Any, prompt: Tensor | dict, negative: Tensor | dict, *,
                 guidance_scale: float = 7.0, layer: str = AUTO_LAYER, branch: str = "conditional"):
        check_choice(branch, BRANCHES, "branch")
        self.patch_size = getattr(network.config, "patch_size", None)
        self.parametrization = _parametrization_of(scheduler, flow=self.patch_size is not None)
        if network.config.in_channels != (network.config.out_channels or network.config.in_channels):
            raise ValueError("This network takes more channels than it predicts: it is an inpainting model.")
        if layer == AUTO_LAYER:
            layer = f"transformer_blocks.{len(network.transformer_blocks) - 1}" if self.patch_size else "mid_block"
        self.network, self.layer, self.guidance_scale = network, network.get_submodule(layer), guidance_scale
        self.prompt, self.negative = ({"encoder_hidden_states": side} if isinstance(side, Tensor) else side
                                      for side in (prompt, negative))
        self.feature_prompt = self.prompt if branch == "conditional" else self.negative
        self.device = next(network.parameters()).device
        self.rounding = ROUNDINGS * torch.finfo(network.dtype).eps
        if self.parametrization is not Parametrization.FLOW:
            self.sigmas = _sigmas_of(scheduler.alphas_cumprod)  # (T,), rising with the timestep
        self.timesteps = scheduler.config.num_train_timesteps

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        with torch.no_grad():
            output = self._run(x, sigma, self.prompt)
            if self.guidance_scale != 1.0:
                unconditional = self._run(x, sigma, self.negative)
                output = unconditional + self.guidance_scale * (output - unconditional)
        return denoised_from_output(self.parametrization, output.float(), x, sigma)

    def features(self, x: Tensor, sigma: float) -> Tensor:
        output = output_of(self.layer, lambda: self._run(x, sigma, self.feature_prompt))
        if output is None:
            raise ValueError("The chosen layer did not run in a forward pass: choose a block of the network, such as "
                             "mid_block.")
        if self.patch_size is None:
            return (output[0] if isinstance(output, tuple) else output).float()
        tokens = output[1] if isinstance(output, tuple) else output  # (text, image) of an MMDiT block; (B, h w, C)
        return tokens.float().transpose(1, 2).unflatten(2,
                                                        (x.shape[2] // self.patch_size, x.shape[3] // self.patch_size))

    def _run(self, x: Tensor, sigma: float, prompt: dict) -> Tensor:
        if self.parametrization is Parametrization.FLOW:
            timestep = torch.full((len(x),), sigma * self.timesteps, device=x.device)
        else:
            timestep = int((self.sigmas.log() - torch.tensor(sigma, dtype=torch.float64).log()).abs().argmin())
        z = (x * paper_scale(self.parametrization, sigma)).to(self.network.dtype)
        return self.network(z, timestep=timestep, **_repeated(prompt, len(x))).sample


def _parametrization_of(scheduler: Any, flow: bool) -> Parametrization:
    if flow and not hasattr(scheduler, "alphas_cumprod"):
        return Parametrization.FLOW
    kind = getattr(scheduler.config, "prediction_type", type(scheduler).__name__)
    if flow or kind not in PARAMETRIZATIONS:
        raise ValueError(f"The scheduler predicts {kind!r}; supported are {', '.join(PARAMETRIZATIONS)} for U-Nets, "
                         "and flow-matching schedulers for transformers.")
    return PARAMETRIZATIONS[kind]


def _repeated(value: Any, count: int) -> Any:
    if isinstance(value, dict):
        return {key: _repeated(item, count) for key, item in value.items()}
    return value.expand(count, *value.shape[1:])


def from_pipeline(pipe: Any, prompt: str, *, negative_prompt: str = "", guidance_scale: float = 7.0,
                  layer: str = AUTO_LAYER, branch: str = "conditional",
                  size: tuple[int, int] | None = None) -> DiffusersDenoiser:
    """The Denoiser of a Stable Diffusion 1.x, 2.x, SDXL or 3 pipeline with a prompt.

    size: height and width in pixels that SDXL is told; its own default if left out.
    Raises ValueError for pipelines of other kinds, SDXL's refiner among them.
    """
    from diffusers import SD3Transformer2DModel, UNet2DConditionModel

    network: Any = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
    config: Any = getattr(network, "config", None)
    supported = (isinstance(network, SD3Transformer2DModel)
                 or isinstance(network, UNet2DConditionModel)
                 and config.addition_embed_type in (None, "text_time"))
    if not supported or getattr(pipe.config, "requires_aesthetics_score", False):
        raise ValueError(f"{type(pipe).__name__} is not supported: use a pipeline of Stable Diffusion 1.x, 2.x, SDXL "
                         "or 3.")
    network.requires_grad_(False)
    choices = {"guidance_scale": guidance_scale, "layer": layer, "branch": branch}
    if isinstance(network, UNet2DConditionModel) and config.addition_embed_type is None:
        sides = pipe.encode_prompt(prompt, network.device, 1, True, negative_prompt=negative_prompt)
        return DiffusersDenoiser(network, pipe.scheduler, *sides, **choices)
    others = {"prompt_2": None, "negative_prompt": negative_prompt, "device": network.device}
    if isinstance(network, SD3Transformer2DModel):
        others["prompt_3"] = None
    positive, negative, pooled, negative_pooled = pipe.encode_prompt(prompt, **others)
    if isinstance(network, SD3Transformer2DModel):
        sides = [{"encoder_hidden_states": text, "pooled_projections": whole}
                 for text, whole in ((positive, pooled), (negative, negative_pooled))]
    else:
        height, width = size or 2 * (config.sample_size * pipe.vae_scale_factor,)
        sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=positive.dtype, device=network.device)
        sides = [{"encoder_hidden_states": text, "added_cond_kwargs": {"text_embeds": whole, "time_ids": sizes}}
                 for text, whole in ((positive, pooled), (negative, negative_pooled))]
    return DiffusersDenoiser(network, pipe.scheduler, *sides, **choices)


def ddim_sigmas(scheduler: Any, steps: int) -> Tensor:
    """The noise levels (steps + 1,) of a diffusers scheduler's timesteps, falling to 0.

    Each comes once, also where a solver of higher order asks the network several times at a level, or between two;
    there are fewer than `steps` where a scheduler has rounded timesteps to the same one.
    Raises ValueError for schedulers whose steps cannot be told from the levels between them, or whose levels rise.
    """
    scheduler.set_timesteps(steps)
    # Heun, KDPM2 and others of the second order list both evaluations of a step, the last one's first alone.
    order = getattr(scheduler, "order", 1)
    if hasattr(scheduler, "alphas_cumprod"):
        # PNDM with skip_prk_steps, as Stable Diffusion 1 has it, lists the second timestep twice.
        timesteps = scheduler.timesteps[::order].cpu().long().unique_consecutive()
        # Trailing ones may end in -1, where dividing the table by the steps has been rounded.
        levels = _sigmas_of(scheduler.alphas_cumprod[timesteps[timesteps >= 0]])
    else:
        levels = in_double(scheduler.sigmas.cpu()[:-1:order])
    if len(levels) > steps:
        raise ValueError(f"{type(scheduler).__name__} asks the network at {len(levels)} noise levels in {steps} steps, "
                         "and does not say which of them are steps: use DDIMScheduler.from_config(scheduler.config), "
                         "whose noise is the same.")
    levels = torch.cat([levels, torch.zeros(1, dtype=torch.float64)]).float()
    check_falling(levels)
    return levels


def _sigmas_of(cumulative_alphas: Tensor) -> Tensor:
    cumulative = in_double(cumulative_alphas).clamp(min=SMALLEST_CUMULATIVE_ALPHA)
    return ((1 - cumulative) / cumulative).sqrt()
