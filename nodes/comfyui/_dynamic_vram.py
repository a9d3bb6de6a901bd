"""Dynamic VRAM, core's default on NVIDIA cards: weights lie in the file and are cast for each layer's turn.

Gradients need weights that stay. What memory that runs out in the middle of a cast leaves behind has to go before
anything else is asked of the network.
"""
from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import comfy.model_patcher
import comfy.model_prefetch
import torch
from comfy.patcher_extension import CallbacksMP
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
    # and keep a network of its own. So a patcher of it lies beside the weights that all share.
    root = getattr(model.model, STATIC_FORM, None)
    if root is not None:
        model.non_dynamic_delegate_model = root.get_clone_model_override()
    found = model.get_non_dynamic_delegate()
    if root is None:
        root = comfy.model_patcher.ModelPatcher(found.model, found.load_device, found.offload_device)
        root.backup, root.backup_buffers, root.object_patches_backup, root.pinned = found.get_clone_model_override()[1]
        _cast_as_chosen(root)
        setattr(model.model, STATIC_FORM, root)
    # Of what core has loaded it holds the parent when a patcher is gone: that of the dynamic form, and it could not
    # unload the static one.
    found.parent = root
    found.add_callback(CallbacksMP.ON_LOAD, _patch_root_alike)
    return found


def _patch_root_alike(form: Any, *_: Any) -> None:
    """Parts of what is loaded are unloaded, and come back, patched as the root is, when the form itself is gone."""
    root = form
    while root.parent is not None:
        root = root.parent
    root.patches, root.patches_uuid, root.force_cast_weights = (form.patches, form.patches_uuid,
                                                                form.force_cast_weights)


def _cast_as_chosen(form: Any) -> None:
    """Give plain weights the type that core has chosen for them: with dynamic VRAM switched on its layers keep that of
    the file, and only the dynamic form casts it in their turn."""
    cast: dict[int, nn.Parameter] = {}  # tied weights stay tied

    def as_chosen(module: nn.Module, name: str, value: Any) -> Any:
        dtype = getattr(module, f"{name}_comfy_model_dtype", None)
        if type(value) not in (Tensor, nn.Parameter) or dtype is None or value.dtype == dtype:
            return value
        if id(value) not in cast:
            cast[id(value)] = nn.Parameter(value.to(dtype), requires_grad=False)
        return cast[id(value)]

    with torch.inference_mode(False), torch.no_grad():
        for module in form.model.modules():
            for name, value in module._parameters.items():
                module._parameters[name] = as_chosen(module, name, value)
        for key, kept in form.backup.items():
            place, _, name = key.rpartition(".")
            form.backup[key] = kept._replace(weight=as_chosen(form.model.get_submodule(place), name, kept.weight))


def networks_of(guider: Any) -> list[nn.Module]:
    """All networks that take part in the predictions of one of core's guiders: those of its one model or two, of its
    ControlNets, and of its patches."""
    controls = [entry["control"] for entries in guider.conds.values()
                for entry in entries if entry.get("control") is not None]
    others = [*(patcher for control in controls for patcher in control.get_models()),
              *guider.model_patcher.model_patches_models()]
    models = [model for model in (guider.inner_model, getattr(guider, "uncond_inner", None)) if model is not None]
    return [*(model.diffusion_model for model in models), *(patcher.model for patcher in others)]


@contextlib.contextmanager
def asking(guider: Any) -> Iterator[None]:
    """Around whatever asks the networks of a guider.

    Where memory runs out while core casts a layer's weights, the layer would count as cast from then on, without its
    LoRA or with what other layers write into the same buffer meanwhile; and core's ControlNets of blocks would begin
    the next pass with what the one that failed has left: wrong numbers in all that follows, and no error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            try:
                _forget_begun_casts(networks_of(guider))
                forget_passes(guider.model_patcher)
            except Exception as failure:
                logging.warning("After memory ran out, weights that were being cast could not be given up: %s", failure)
        raise


def forget_passes(model: Any) -> None:
    """Have core's ControlNets of blocks forget what they carry from block to block of a pass that has not come to its
    end, by being moved, even to where they are."""
    model.model_patches_to(model.load_device)


def _forget_begun_casts(networks: Iterable[nn.Module]) -> None:
    for network in networks:
        begun = [module for module in network.modules() if getattr(module, "_prefetch", None) is not None]
        for module in begun:
            if not module._prefetch.get("resident"):
                module._v_signature = None
        comfy.model_prefetch.cleanup_prefetched_modules(begun)


def forget_cast(module: nn.Module) -> None:
    """Let weights of a layer be cast anew that a sampling has cast in inference mode, where autograd could not save
    them."""
    held = (getattr(module, name, None) for name in ("_v_weight", "_v_bias"))
    if any(isinstance(value, Tensor) and value.is_inference() for value in held):
        module._v_signature = None
