"""What nodes look at in a ComfyUI MODEL, and check."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import torch
from torch import Tensor

from ...dma.diffusion import check_falling, distinct_levels
from ._advice import advising
from ._architectures import AUTO_LAYER, architecture_of, default_layer, places
from ._noise_law import noise_law, parametrization_of


@dataclass(frozen=True)
class HSpace:
    """A model together with the layer at which its features are read. The value of a DMA_HSPACE socket."""

    model: Any  # comfy.model_patcher.ModelPatcher
    layer: str
    pooling: str  # over space: one of `dma.models.POOLINGS`


def semantic_space(model: Any) -> HSpace:
    """A value of DMA_HSPACE as it is; of a MODEL its own semantic layer. Raises ValueError as HSpaceHook does."""
    if isinstance(model, HSpace):
        return model
    check_model(model)
    return HSpace(model, resolve_layer(model, AUTO_LAYER), "none")


def network_of(model: Any) -> torch.nn.Module:
    return model.get_model_object("diffusion_model")


def layer_names(model: Any) -> list[str]:
    """The layers of a loaded MODEL at which features can be read, in the order in which they run.

    Raises ValueError naming the class of a network that is not in the table of architectures.
    """
    return list(places(network_of(model)))


def resolve_layer(model: Any, layer: str) -> str:
    """The layer's own name, with `auto` resolved. Raises ValueError listing the layers if there is no such one."""
    names = layer_names(model)
    if layer == AUTO_LAYER:
        return default_layer(network_of(model))
    if layer not in names:
        raise ValueError(f"This model has no layer {layer!r}. Its layers are: {', '.join(names)}.")
    return layer


def check_model(model: Any) -> None:
    """Raise ValueError if averages of this MODEL would make no sense: inpainting or video models, broken weights."""
    network = network_of(model)
    taken, latent = architecture_of(network).latent_channels(
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


def schedulers() -> list[str]:
    """The names of core's schedulers, and of those that other packs have added."""
    return comfy.samplers.KSampler.SCHEDULERS


def sigmas_of(model: Any, scheduler: str, steps: int) -> Tensor:
    """The noise levels of core's scheduler for this MODEL, falling to 0: mostly steps + 1, but fewer where it repeats
    some, as that of a distilled model does with more steps than it has levels.

    Raises ValueError for schedules that cannot be sampled along: kl_optimal, for one, gives NaN for a single step.
    """
    levels = comfy.samplers.calculate_sigmas(noise_law(model), scheduler, steps).cpu()
    if len(levels) < 2 or not torch.isfinite(levels).all():
        raise ValueError(f"The scheduler {scheduler!r} has no noise levels for {steps} "
                         f"{'step' if steps == 1 else 'steps'}: use more steps or another scheduler.")
    levels = distinct_levels(levels)
    with advising("Use another scheduler, or fewer steps."):
        check_falling(levels)
    return levels
