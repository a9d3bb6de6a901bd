"""Dynamic VRAM, core's default on NVIDIA cards: weights lie in the file and are cast for each layer's turn.

Gradients need weights that stay. What memory that runs out in the middle of a cast leaves behind has to go before
anything else is asked of the network.
"""
from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import comfy.model_prefetch
import torch
from torch import Tensor, nn

from ...dma.execution import is_out_of_memory

STATIC_FORM = "_mental_averages_static_form"


def with_weights_that_stay(model: Any) -> Any:
    """The MODEL itself, or its static form: dynamic VRAM may rewrite weights between a forward and its backward
    pass."""
    if not model.is_dynamic():
        return model
    if model.injections:
        # They belong to the layers of the form in dynamic VRAM, and the static one would run without them.
        raise ValueError("This model or CLIP is in dynamic VRAM, and another node has put adapters beside its layers, "
                         "which cannot be used with gradients together: load the LoRA with Load LoRA, which changes "
                         "weights, or start ComfyUI with --disable-dynamic-vram.")
    try:
        return _static_form(model)
    except RuntimeError as error:
        raise ValueError("This model or CLIP is in dynamic VRAM, and the node that loaded it cannot load it in "
                         "another way, which gradients need. Load it with one of ComfyUI's own loaders, or start "
                         f"ComfyUI with --disable-dynamic-vram ({error})") from error


def _static_form(model: Any) -> Any:
    # Core keeps it for one MODEL alone: each that LoRAs and other patches make of it would load the checkpoint again
    # and keep a network of its own. So it lies beside the weights that all of them share.
    if getattr(model, "non_dynamic_delegate_model", None) is None:
        model.non_dynamic_delegate_model = getattr(model.model, STATIC_FORM, None)
    found = model.get_non_dynamic_delegate()
    setattr(model.model, STATIC_FORM, model.non_dynamic_delegate_model)
    _cast_as_chosen(found.model)
    return found


def _cast_as_chosen(network: nn.Module) -> None:
    """Give plain weights the type that core has chosen for them: with dynamic VRAM switched on its layers keep that of
    the file, and only the dynamic form casts it in their turn."""
    with torch.inference_mode(False), torch.no_grad():
        for module in network.modules():
            for name, value in module._parameters.items():
                dtype = getattr(module, f"{name}_comfy_model_dtype", None)
                if type(value) is nn.Parameter and dtype is not None and value.dtype != dtype:
                    module._parameters[name] = nn.Parameter(value.to(dtype), requires_grad=False)


def networks_of(guider: Any) -> list[nn.Module]:
    """All networks that take part in the predictions of one of core's guiders: the model's, those of its ControlNets,
    and those of its patches."""
    controls = [entry["control"] for entries in guider.conds.values()
                for entry in entries if entry.get("control") is not None]
    others = [*(patcher for control in controls for patcher in control.get_models()),
              *guider.model_patcher.model_patches_models()]
    return [guider.inner_model.diffusion_model, *(patcher.model for patcher in others)]


@contextlib.contextmanager
def asking(guider: Any) -> Iterator[None]:
    """Around whatever asks the networks of a guider.

    Where memory runs out while core casts a layer's weights, the layer would count as cast from then on, with what
    other layers write into the same buffer meanwhile: wrong numbers in all that follows, and no error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            for network in networks_of(guider):
                comfy.model_prefetch.cleanup_prefetched_modules(
                    [module for module in network.modules() if hasattr(module, "_prefetch")])
        raise


def forget_casts(modules: Iterable[nn.Module]) -> None:
    """Let weights be cast anew that a sampling has cast in inference mode, where autograd could not save them."""
    for module in modules:
        held = (getattr(module, name, None) for name in ("_v_weight", "_v_bias"))
        if any(isinstance(value, Tensor) and value.is_inference() for value in held):
            module._v_signature = None
