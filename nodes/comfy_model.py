"""The Denoiser of a ComfyUI MODEL: the only place that knows ComfyUI's internals.

Everything runs inside a Sampler of core's own CFGGuider, so that conditioning, model loading, patches, ControlNets and
clean-up are exactly those of a KSampler on the same MODEL. Three things are added, and undone in `finally`: weights
that autograd can use, an attention with a backward pass, and a hook that ends the forward pass at the semantic layer.
"""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import comfy.conds
import comfy.ldm.modules.attention
import comfy.model_management
import comfy.model_sampling
import comfy.samplers
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from ..dma.batching import BatchSize
from ..dma.diffusion import Parametrization
from ..dma.early_exit import output_of

AUTO_LAYER = "auto"
# What would give features that cannot be compared between latents, or has weights of its own without a gradient.
UNSUPPORTED_CONDITIONING = {"area": "an area", "mask": "a mask", "gligen": "GLIGEN boxes", "control": "a ControlNet",
                            "hooks": "a scheduled LoRA or another hook"}
# A backward pass holds several times the memory of the forward pass that ComfyUI estimates.
BACKWARD_MEMORY = 4
BRANCHES = ("conditional", "unconditional", "guided")


@dataclass(frozen=True)
class HSpace:
    """A model together with the layer at which its features are read. The value of a DMA_HSPACE socket."""

    model: Any  # comfy.model_patcher.ModelPatcher
    layer: str
    pooling: str  # "none" or "mean" (over space)


def layer_names(model: Any) -> list[str]:
    """The layers of a loaded MODEL at which features can be read, in the order in which they run."""
    network = unet_of(model)
    return [*(f"input_blocks.{index}" for index in range(len(network.input_blocks))), "middle_block",
            *(f"output_blocks.{index}" for index in range(len(network.output_blocks)))]


def unet_of(model: Any) -> UNetModel:
    """The U-Net of a MODEL. Raises ValueError naming the class of anything else."""
    network = model.get_model_object("diffusion_model")
    if not isinstance(network, UNetModel) or network.middle_block is None:
        raise ValueError(f"This model is a {type(network).__name__}. HSpaceHook reads the U-Nets of Stable Diffusion "
                         "1.5, 2.x and SDXL; diffusion transformers are not supported yet. Connect a U-Net checkpoint.")
    return network


def resolve_layer(model: Any, layer: str) -> str:
    """The layer's own name, with `auto` resolved. Raises ValueError listing the layers if there is no such one."""
    names = layer_names(model)
    if layer == AUTO_LAYER:
        return "middle_block"
    if layer not in names:
        raise ValueError(f"This model has no layer {layer!r}. Its layers are: {', '.join(names)}.")
    return layer


def parametrization_of(model: Any) -> Parametrization:
    """How the MODEL's latents and predictions are to be read. Raises ValueError for noise laws that are not supported."""
    sampling = model.get_model_object("model_sampling")
    if isinstance(sampling, comfy.model_sampling.CONST):
        return Parametrization.FLOW
    scaled_as_usual = type(sampling).calculate_input is comfy.model_sampling.EPS.calculate_input
    if scaled_as_usual and getattr(sampling, "sigma_data", 1.0) == 1.0:
        return Parametrization.V if isinstance(sampling, comfy.model_sampling.V_PREDICTION) else Parametrization.EPS
    raise ValueError(f"The noise schedule {type(sampling).__mro__[1].__name__} of this model is not supported: "
                     "connect a model with eps, v or flow prediction.")


def check_model(model: Any) -> None:
    """Raise ValueError if averages of this MODEL would make no sense: inpainting or video models, broken weights."""
    network = unet_of(model)
    parametrization_of(model)
    if network.in_channels != network.out_channels:
        raise ValueError(f"This model takes {network.in_channels} input channels but predicts {network.out_channels}: "
                         "it is an inpainting or instruction model. Connect an ordinary text-to-image checkpoint.")
    if network.use_temporal_resblocks:
        raise ValueError("This is a video model. Connect an ordinary text-to-image checkpoint.")
    for name, parameter in network.named_parameters():
        if parameter.is_floating_point() and parameter.device.type != "meta" and not _looks_finite(parameter):
            raise ValueError(f"The weight {name} of this model contains NaN or infinity: the checkpoint is damaged.")


def _looks_finite(parameter: Tensor) -> bool:
    # A sum is NaN or infinite if any element is; it needs no second tensor of the same size. 8-bit types cannot add.
    values = parameter.detach()
    return bool(torch.isfinite((values.float() if values.element_size() == 1 else values).sum(dtype=torch.float32)))


def check_conditioning(conditioning: list, name: str) -> None:
    """Raise ValueError if features of this conditioning could not be compared between latents."""
    if not conditioning:
        raise ValueError(f"The {name} conditioning is empty: connect a CLIP Text Encode node with your prompt.")
    for _, options in conditioning:
        for key, what in UNSUPPORTED_CONDITIONING.items():
            if options.get(key) is not None:
                raise ValueError(f"The {name} conditioning carries {what}, which mental averages cannot use: connect a "
                                 "plain prompt for the whole picture.")


def latent_shape(model: Any, latent: dict) -> tuple[int, ...]:
    """The shape (C, H, W) of the latents that a LATENT input stands for.

    Raises ValueError for video, audio and other latents that this MODEL cannot denoise as pictures.
    """
    samples = latent["samples"]
    channels = model.model.latent_format.latent_channels
    if getattr(samples, "is_nested", False) or samples.ndim != 4:
        raise ValueError("This latent is a video, audio or combined latent: connect an image latent such as that of "
                         "Empty Latent Image.")
    if len(samples) == 0:
        raise ValueError("This latent is an empty batch: connect a latent with at least one image.")
    if "noise_mask" in latent:
        raise ValueError("This latent carries an inpainting mask: connect a latent without one.")
    empty = not samples.any()
    if samples.shape[1] != channels and not empty:
        raise ValueError(f"This latent has {samples.shape[1]} channels, but the model works on {channels}: encode the "
                         "picture with the VAE of this model.")
    return (channels, *samples.shape[2:])


def sigmas_of(model: Any, scheduler: str, steps: int) -> Tensor:
    """The noise levels (steps + 1,) of core's scheduler for this MODEL, falling to 0."""
    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps).cpu()


class ComfyDenoiser:
    """`dma.denoiser.Denoiser` on a CFGGuider in the middle of its sampling; made by `with_denoiser` only."""

    def __init__(self, guider: comfy.samplers.CFGGuider, options: dict, parametrization: Parametrization,
                 layer: str | None, pooling: str, branch: str):
        self.guider, self.options, self.parametrization = guider, options, parametrization
        self.layer, self.pooling, self.branch = layer, pooling, branch
        self.device = guider.model_patcher.load_device

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        with torch.no_grad():
            return self.guider(x, self._levels(x, sigma), **self.options).float()

    def unconditional_embedding(self) -> Tensor:
        """The negative prompt's text embedding (1, T, D). Raises ValueError unless it is one plain prompt."""
        entries = self.guider.conds["negative"]
        found = entries[0]["model_conds"].get("c_crossattn") if len(entries) == 1 else None
        if found is None:
            raise ValueError("Optimising the unconditional embedding needs a negative conditioning of one plain prompt, on "
                             "a model that reads prompts by cross-attention: connect a single CLIP Text Encode.")
        return found.cond

    def denoise_with(self, x: Tensor, sigma: float, embedding: Tensor) -> Tensor:
        """`denoise` with the negative prompt's embedding replaced by `embedding` (1 or B, T, D), differentiable in it."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        (entry,) = self.guider.conds["negative"]
        replaced = {**entry, "model_conds": {**entry["model_conds"], "c_crossattn": comfy.conds.CONDCrossAttn(embedding)}}
        return comfy.samplers.sampling_function(self.guider.inner_model, x, self._levels(x, sigma), [replaced],
                                                self.guider.conds["positive"], self.guider.cfg, self._differentiable()).float()

    def features(self, x: Tensor, sigma: float) -> Tensor:
        if self.layer is None:
            raise ValueError("This Denoiser was made without a layer to read features at.")
        comfy.model_management.throw_exception_if_processing_interrupted()
        if self.branch == "guided":
            conditional, unconditional = (self._features_of(name, x, sigma) for name in ("positive", "negative"))
            return unconditional + self.guider.cfg * (conditional - unconditional)
        return self._features_of("positive" if self.branch == "conditional" else "negative", x, sigma)

    def _levels(self, x: Tensor, sigma: float) -> Tensor:
        return torch.full((len(x),), sigma, device=x.device)

    def _differentiable(self) -> dict:
        options = comfy.model_patcher.create_model_options_clone(self.options["model_options"])
        options["transformer_options"]["optimized_attention_override"] = _attention_with_backward
        return options

    def _features_of(self, name: str, x: Tensor, sigma: float) -> Tensor:
        """Features under one side's prompt: the mean over its entries that are active at this noise level."""
        options = self._differentiable()
        inner, levels, found = self.guider.inner_model, self._levels(x, sigma), []
        # The blocks are containers that are iterated and not called, so only their last module's hook ever fires.
        layer = inner.diffusion_model.get_submodule(self.layer)[-1]
        for entry in self.guider.conds[name]:
            # One call per entry, so that memory never decides which entries are evaluated together.
            features = output_of(layer, lambda: comfy.samplers.calc_cond_batch(inner, [[entry]], x, levels, options))
            if features is not None:
                found.append(_at_least_fp32(features))
        if not found:
            raise ValueError(f"No part of the {name} conditioning is active at noise level {sigma:.3g}: widen the "
                             "range of Conditioning Set Timestep Range.")
        features = torch.stack(found).mean(0) if len(found) > 1 else found[0]  # (B, C, h, w)
        return features.mean(dim=(2, 3)) if self.pooling == "mean" else features


def _at_least_fp32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _attention_with_backward(attention: Callable, *arguments, **options) -> Tensor:
    return comfy.ldm.modules.attention.attention_pytorch(*arguments, **options)


@contextlib.contextmanager
def normal_weights(network: torch.nn.Module) -> Iterator[None]:
    """Let autograd use weights that were loaded under inference mode, for as long as the context lasts.

    Each inference tensor is replaced by a normal tensor on the same memory (through DLPack; a copy where a type has no
    DLPack form), and the very same parameters are put back afterwards. Must be entered with inference mode off.
    """
    replaced: list[tuple[dict, str, Any]] = []
    try:
        for module in network.modules():
            for table in (module._parameters, module._buffers):
                for name, value in table.items():
                    if value is not None and value.is_inference():
                        replaced.append((table, name, value))
                        table[name] = _normal_alias(value, as_parameter=table is module._parameters)
        yield
    finally:
        for table, name, value in replaced:
            table[name] = value


def _normal_alias(value: Tensor, as_parameter: bool) -> Tensor:
    try:
        alias = torch.from_dlpack(value.detach())
    except (BufferError, RuntimeError, TypeError):
        alias = value.detach().clone()
    return torch.nn.Parameter(alias, requires_grad=False) if as_parameter else alias


def normal_tensors(value: Any) -> Any:
    """A copy of nested lists, tuples and dicts in which every tensor is cloned, hence no inference tensor."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: normal_tensors(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(normal_tensors(item) for item in value)
    return value


def conditioning_tensors(positive: list, negative: list) -> dict[str, Tensor]:
    """Every tensor and number in two conditionings by its place, for telling whether a saved run has the same prompts."""
    found: dict[str, Tensor] = {}

    def walk(value: Any, place: str) -> None:
        if isinstance(value, Tensor):
            found[place] = value
        elif isinstance(value, (int, float)):
            found[place] = torch.tensor(float(value))
        elif isinstance(value, dict):
            for key, item in value.items():
                walk(item, f"{place}.{key}")
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                walk(item, f"{place}.{index}")

    walk(positive, "positive")
    walk(negative, "negative")
    return found


class _DenoiserSampler(comfy.samplers.Sampler):
    """Runs a function on the ComfyDenoiser in the place where a KSampler would run its loop."""

    def __init__(self, function: Callable[[ComfyDenoiser], Tensor], **choices):
        self.function, self.choices = function, choices

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None,
               disable_pbar=False):
        with normal_weights(model_wrap.inner_model.diffusion_model):
            denoiser = ComfyDenoiser(model_wrap, extra_args, **self.choices)
            return self.function(denoiser).detach().to(model_wrap.model_patcher.load_device)


def with_denoiser(model: Any, positive: list, negative: list, guidance_scale: float, sigmas: Tensor,
                  shape: tuple[int, ...], seed: int, function: Callable[[ComfyDenoiser], Tensor],
                  layer: str | None = AUTO_LAYER, pooling: str = "none", branch: str = "conditional") -> Tensor:
    """Call `function` on the Denoiser of a MODEL and return its latents (N, C, H, W) as a LATENT carries them.

    `shape` (C, H, W) is that of the latents the Denoiser will see. With `layer` None it has no features, only
    predictions. Inference mode is off inside.
    """
    choices = dict(parametrization=parametrization_of(model), layer=resolve_layer(model, layer) if layer else None,
                   pooling=pooling, branch=branch)
    with torch.inference_mode(False), torch.no_grad():
        if model.is_dynamic():
            # Weights under dynamic VRAM may be evicted or rewritten between a forward pass and its backward pass.
            model = model.get_non_dynamic_delegate()
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(normal_tensors(positive), normal_tensors(negative))
        guider.set_cfg(guidance_scale)
        # Only its shape matters: ComfyUI frees memory for that many latents.
        rows = BACKWARD_MEMORY * BatchSize.automatic(torch.Size(shape).numel()).value
        noise = torch.zeros((1, *shape)).expand(rows, *shape)
        result = guider.sample(noise, torch.zeros_like(noise), _DenoiserSampler(function, **choices), sigmas, seed=seed)
        return result.to(comfy.model_management.intermediate_device())


def latents_into_model(model: Any, samples: Tensor) -> Tensor:
    """LATENT samples in the units that the Denoiser works in."""
    return model.model.process_latent_in(samples.float().clone())
