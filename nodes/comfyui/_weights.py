"""An identity of a network's weights: some values of every tensor, as they are without patches.

A merge, a LoRA that was baked into a checkpoint, or a cast may change what a network predicts by less than half
precision rounds, so that what it answers does not tell it apart. Its weights do, and few of them are enough: a merge
changes all, a LoRA all of the layers that it is for.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

# Of each larger tensor. Values lie together in blocks, because each block of a checkpoint that still lies on the disk
# costs a page of it; blocks are spread evenly, because joined layers (queries, keys, values) may be changed in part.
BLOCKS, VALUES = 8, 16


def originals_of(patcher: Any) -> dict[str, Any]:
    """What a ModelPatcher has put aside of its model's tensors and modules while others are in their places, by name.

    Hooks change weights that may be patched already, so that what was put aside for patches comes before.
    """
    kept: dict[str, Any] = dict(getattr(patcher, "object_patches_backup", {}))
    kept.update((name, weight) for name, (weight, _) in getattr(patcher, "hook_backup", {}).items())
    kept.update(getattr(patcher, "backup_buffers", {}))
    kept.update((name, aside.weight) for name, aside in getattr(patcher, "backup", {}).items())
    return kept


def original_modules(module: nn.Module, originals: Mapping[str, Any],
                     place: str = "") -> Iterator[tuple[str, nn.Module]]:
    """A module and all inside it by their places, where another one is not in the place of an original."""
    yield place, module
    for name, child in module._modules.items():
        inside = f"{place}.{name}" if place else name
        child = originals.get(inside, child)
        if isinstance(child, nn.Module):
            yield from original_modules(child, originals, inside)


def identity_of_loaded(loaded: Any) -> str:
    """`identity_of` the model of anything that ComfyUI has loaded with a ModelPatcher, as a CLIP_VISION."""
    return identity_of(loaded.model, originals_of(loaded.patcher))


def identity_of(module: nn.Module, originals: Mapping[str, Any]) -> str:
    """A hash of some values of each tensor of a module, the same wherever its tensors lie and whatever patches are in
    them; it moves little between devices.

    Tensors of classes of their own, of which values cannot be read, count by their shapes.
    """
    digest, samples = hashlib.sha256(), []
    for name, value, dtype in _tensors(module, originals):
        digest.update(f"{name} {tuple(value.shape)} {dtype or value.dtype} ".encode())
        samples += [_sample(part, dtype) for part in _plain(value)]
    for content in _on_cpu(samples):
        digest.update(content.numpy().tobytes())
    return digest.hexdigest()


def _tensors(module: nn.Module, originals: Mapping[str, Any]) -> Iterator[tuple[str, Tensor, torch.dtype | None]]:
    """Parameters and saved buffers by name, each with the type in which the model has it: with dynamic VRAM a tensor is
    in that of the file before it is used."""
    for place, inside in original_modules(module, originals):
        for name, value in (*inside._parameters.items(), *inside._buffers.items()):
            value = originals.get(f"{place}.{name}" if place else name, value)
            if isinstance(value, Tensor) and name not in inside._non_persistent_buffers_set:
                dtype = getattr(inside, f"{name}_comfy_model_dtype", None)
                yield f"{place}.{name}", value, dtype if value.is_floating_point() else None


def _plain(value: Tensor) -> list[Tensor]:
    """The plain tensors of which one is made, none if that is not known."""
    if type(value) in (Tensor, nn.Parameter):
        return [value.detach()]
    if not hasattr(value, "__tensor_flatten__"):
        return []
    try:
        parts = [getattr(value, name) for name in value.__tensor_flatten__()[0]]  # PyTorch's protocol for such classes
    except (RuntimeError, NotImplementedError, AttributeError, TypeError):
        return []
    return [plain for part in parts if isinstance(part, Tensor) for plain in _plain(part)]


def _sample(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Some values of a plain tensor as bytes, on its device."""
    if value.is_meta:  # what a checkpoint has nothing for is zeros when it is first used
        value = torch.zeros(min(value.numel(), BLOCKS * VALUES), dtype=value.dtype)
    flat = value.reshape(-1)
    if len(flat) > BLOCKS * VALUES:
        flat = flat[: len(flat) // BLOCKS * BLOCKS].view(BLOCKS, -1)[:, :VALUES]
    return flat.to(dtype or flat.dtype).reshape(-1).contiguous().view(torch.uint8)


def _on_cpu(samples: list[Tensor]) -> list[Tensor]:
    """Tensors of bytes brought to the CPU, with one transfer for each device."""
    found: list[Tensor] = list(samples)
    for device in {sample.device for sample in samples}:
        there = [index for index, sample in enumerate(samples) if sample.device == device]
        joined = torch.cat([samples[index] for index in there]).cpu()
        for index, part in zip(there, joined.split([len(samples[index]) for index in there])):
            found[index] = part
    return found
