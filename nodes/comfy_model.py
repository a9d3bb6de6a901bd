"""What nodes do with a ComfyUI MODEL: look at it, check it, and run a function on its Denoiser (comfy_denoiser.py).

Everything runs inside a Sampler of core's own CFGGuider, so that conditioning, model loading, patches, ControlNets and
clean-up are exactly those of a KSampler on the same MODEL. What is added for gradients (comfy_gradients.py) and for
reading features (architectures.py) is undone in `finally`. These modules alone know ComfyUI's internals.
"""
from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import comfy.model_management
import comfy.sample
import comfy.samplers
import torch
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY
from torch import Tensor

from ..dma.batching import BatchSize
from . import architectures, comfy_gradients
from .architectures import AUTO_LAYER
from .comfy_conditioning import check_conditioning, conditioning_tensors, normal_tensors  # noqa: F401  what nodes need
from .comfy_denoiser import CACHES, ComfyDenoiser, is_video_shaped, parametrization_of, predictor, without_wrappers  # noqa: F401
from .latent_inputs import image_latents

# A backward pass holds several times the memory of the forward pass that ComfyUI estimates.
BACKWARD_MEMORY = 4
BRANCHES = ("conditional", "unconditional", "guided")
Result = TypeVar("Result")


@dataclass(frozen=True)
class HSpace:
    """A model together with the layer at which its features are read. The value of a DMA_HSPACE socket."""

    model: Any  # comfy.model_patcher.ModelPatcher
    layer: str
    pooling: str  # "none" or "mean" (over space)


def network_of(model: Any) -> torch.nn.Module:
    return model.get_model_object("diffusion_model")


def layer_names(model: Any) -> list[str]:
    """The layers of a loaded MODEL at which features can be read, in the order in which they run.

    Raises ValueError naming the class of a network that is not in the table of architectures.
    """
    return list(architectures.places(network_of(model)))


def resolve_layer(model: Any, layer: str) -> str:
    """The layer's own name, with `auto` resolved. Raises ValueError listing the layers if there is no such one."""
    names = layer_names(model)
    if layer == AUTO_LAYER:
        return architectures.default_layer(network_of(model))
    if layer not in names:
        raise ValueError(f"This model has no layer {layer!r}. Its layers are: {', '.join(names)}.")
    return layer


def check_model(model: Any) -> None:
    """Raise ValueError if averages of this MODEL would make no sense: inpainting or video models, broken weights."""
    network = network_of(model)
    taken, latent = architectures.architecture_of(network).latent_channels(
        network), model.model.latent_format.latent_channels
    parametrization_of(model)
    if taken != latent:
        raise ValueError(f"This model takes {taken} input channels, but its latents have {latent}: it is an inpainting "
                         "or instruction model. Connect an ordinary text-to-image checkpoint.")
    if getattr(network, "use_temporal_resblocks", False):
        raise ValueError("This is a video model. Connect an ordinary text-to-image checkpoint.")
    for name, parameter in network.named_parameters():
        if parameter.is_floating_point() and parameter.device.type != "meta" and not _looks_finite(parameter):
            raise ValueError(f"The weight {name} of this model contains NaN or infinity: the checkpoint is damaged.")


def _looks_finite(parameter: Tensor) -> bool:
    # A sum is NaN or infinite if any element is; it needs no second tensor of the same size. 8-bit types cannot add.
    values = parameter.detach()
    return bool(torch.isfinite((values.float() if values.element_size() == 1 else values).sum(dtype=torch.float32)))


def latent_shape(model: Any, latent: dict) -> tuple[int, ...]:
    """The shape (C, H, W) of the latents that a LATENT input stands for.

    Raises ValueError for video, audio and other latents that this MODEL cannot denoise as pictures.
    """
    samples = latent["samples"]
    if (not getattr(samples, "is_nested", False) and samples.ndim == 5 and samples.shape[2] == 1
        and is_video_shaped(model)):
        latent = {**latent, "samples": samples[:, :, 0]}
    samples = image_latents(latent, "This latent")
    channels = model.model.latent_format.latent_channels
    if samples.shape[1] != channels and samples.any():
        raise ValueError(f"This latent has {samples.shape[1]} channels, but the model works on {channels}: encode the "
                         "picture with the VAE of this model.")
    # An empty latent of another model's size is made to fit, as a KSampler does it.
    fitted = comfy.sample.fix_empty_latent_channels(model, samples, latent.get("downscale_ratio_spacial"))
    return (channels, *fitted.shape[-2:])


def sigmas_of(model: Any, scheduler: str, steps: int) -> Tensor:
    """The noise levels (steps + 1,) of core's scheduler for this MODEL, falling to 0."""
    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps).cpu()


class _DenoiserSampler(comfy.samplers.Sampler):
    """Runs a function on the ComfyDenoiser in the place where a KSampler would run its loop, and keeps what it
    returns."""

    def __init__(self, function: Callable[[ComfyDenoiser], Any], save_memory: bool, **choices):
        self.function, self.save_memory, self.choices, self.result = function, save_memory, choices, None

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None,
               disable_pbar=False):
        network = model_wrap.inner_model.diffusion_model
        controls = [entry["control"] for entries in model_wrap.conds.values()
                    for entry in entries if entry.get("control") is not None]
        others = [*(patcher for control in controls for patcher in control.get_models()),
                  *model_wrap.model_patcher.model_patches_models()]
        networks = [network, *(patcher.model for patcher in others)]
        with contextlib.ExitStack() as stack:
            stack.enter_context(comfy_gradients.normal_weights(networks))
            resident = comfy_gradients.memory_of(networks)
            # Other nodes' patches, FreeU for one, and ControlNets add in place; buffers of weights that do not fit the
            # device are written to again.
            patches = {"patches", "patches_replace"} & extra_args["model_options"].get("transformer_options", {}).keys()
            copies = (architectures.works_in_place(network) or controls or patches
                      or model_wrap.inner_model.model_lowvram)
            if self.save_memory:
                stack.enter_context(comfy_gradients.checkpointed(architectures.called_modules(network), resident))
            # A compiled network has no layers to read, and would be compiled again for the weights as they are here.
            denoiser = ComfyDenoiser(*without_wrappers(model_wrap, extra_args, (*CACHES, COMPILE_KEY)),
                                     lambda: comfy_gradients.differentiable(resident if copies else None),
                                     **self.choices)
            self.result = self.function(denoiser)
        return latent_image


def with_denoiser(model: Any, positive: list, negative: list, guidance_scale: float, sigmas: Tensor,
                  shape: tuple[int, ...], seed: int, function: Callable[[ComfyDenoiser], Result],
                  layer: str | None = AUTO_LAYER, pooling: str = "none", branch: str = "conditional",
                  save_memory: bool = False) -> Result:
    """Call `function` on the Denoiser of a MODEL and return what it returns.

    `shape` (C, H, W) is that of the latents the Denoiser will see. With `layer` None it has no features, only
    predictions. `save_memory` keeps only the inputs of blocks for the backward pass, which then costs one more forward
    pass; the gradient is the same. Inference mode is off inside.
    """
    choices = dict(parametrization=parametrization_of(model), layer=resolve_layer(model, layer) if layer else None,
                   pooling=pooling, branch=branch)
    with torch.inference_mode(False), torch.no_grad():
        model = with_weights_that_stay(model)
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(normal_tensors(positive), normal_tensors(negative))
        guider.set_cfg(guidance_scale)
        # Only its shape matters: ComfyUI frees memory for that many latents.
        rows = BACKWARD_MEMORY * BatchSize.automatic(torch.Size(shape).numel()).value
        noise = torch.zeros((1, shape[0], *([1] if is_video_shaped(model) else []), *shape[1:]))
        noise = noise.expand(rows, *noise.shape[1:])
        sampler = _DenoiserSampler(function, save_memory, **choices)
        guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, seed=seed)
        return sampler.result


def with_weights_that_stay(model: Any) -> Any:
    """The MODEL itself, or its static form: dynamic VRAM may rewrite weights between a forward and its backward
    pass."""
    if not model.is_dynamic():
        return model
    try:
        return model.get_non_dynamic_delegate()
    except RuntimeError as error:
        raise ValueError("This model or CLIP is in dynamic VRAM, and the node that loaded it cannot load it in "
                         "another way, which gradients need. Load it with one of ComfyUI's own loaders, or start "
                         f"ComfyUI with --disable-dynamic-vram ({error})") from error


def latents_into_model(model: Any, samples: Tensor) -> Tensor:
    """LATENT samples in the units that the Denoiser works in, (N, C, H, W)."""
    samples = samples.float().clone()
    if not is_video_shaped(model):
        return model.model.process_latent_in(samples)
    return model.model.process_latent_in(samples.unsqueeze(2) if samples.ndim == 4 else samples).squeeze(2)


def latents_out_of_model(model: Any, latents: Tensor) -> dict:
    """The LATENT of finished latents (N, C, H, W) in the units that the Denoiser works in."""
    with torch.inference_mode(False), torch.no_grad():
        latents = latents.detach().float()
        samples = model.model.process_latent_out(latents.unsqueeze(2) if is_video_shaped(model) else latents)
        return {"samples": samples.to(comfy.model_management.intermediate_device())}
