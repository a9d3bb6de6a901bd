"""Checkpoints and LoRAs by the names under which ComfyUI lists them."""
from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.sd
import comfy.utils
import comfy.weight_adapter
import folder_paths
import nodes
import torch

from ._files import shortened

CHECKPOINTS, LORAS = "checkpoints", "loras"
MOST_MISFITS = 0.1  # share of a LoRA's layers: a few belong to inputs that models of one kind may have more of
PLAIN = (torch.float32, torch.float16, torch.bfloat16)
Stamp = tuple[str, int, int]


def listed_models(kind: str) -> list[str]:
    """The names of all files of a kind, such as "checkpoints", with / between folders and file."""
    return [name.replace("\\", "/") for name in folder_paths.get_filename_list(kind)]


def stamp(kind: str, name: str) -> Stamp:
    """What tells one content of a file from another without reading it: its name, size and time of change.

    Raises ValueError where there is no such file any more.
    """
    path = folder_paths.get_full_path(kind, name)
    try:
        found = Path(path or "").stat()
    except OSError:
        found = None
    if path is None or found is None:
        raise ValueError(f"There is no file {shortened(name)!r} in ComfyUI's folder of {kind}: it was there when the "
                         "sheet began.")
    return name, found.st_size, found.st_mtime_ns


class OneCheckpoint:
    """Loads checkpoints and keeps the last: a sheet of many has one in memory at a time. Of a file that cannot be
    loaded it keeps why, so that it is not read again for every word."""

    def __init__(self) -> None:
        self.stamp: Stamp | None = None
        self.loaded: tuple[Any, Any, Any] | None = None
        self.problem = ""

    def get(self, name: str) -> tuple[Any, Any, Any]:
        """MODEL, CLIP and VAE of a checkpoint; of these the CLIP and the VAE are None where it has none.

        Raises ValueError for a file that cannot be loaded.
        """
        wanted = stamp(CHECKPOINTS, name)
        if self.stamp != wanted:
            self.let_go()
            try:
                self.loaded = _checkpoint(name)
            except ValueError as error:
                self.problem = str(error)  # the error itself holds what had been read
            self.stamp = wanted
        if self.problem:
            raise ValueError(self.problem)
        assert self.loaded is not None
        return self.loaded

    def let_go(self) -> None:
        """Forget the checkpoint, and give its memory back before another is loaded."""
        before, self.stamp, self.loaded, self.problem = self.loaded, None, None, ""
        if before is None:
            return
        del before
        # Networks are in circles of references.
        gc.collect()
        comfy.model_management.cleanup_models()
        comfy.model_management.soft_empty_cache()


def _checkpoint(name: str) -> tuple[Any, Any, Any]:
    try:
        loaded = nodes.CheckpointLoaderSimple().load_checkpoint(name)
    except Exception as error:
        if comfy.model_management.is_oom(error):
            raise
        raise ValueError(f"The checkpoint {shortened(name)!r} cannot be loaded ({error}): look whether its file is "
                         "whole.") from error
    if loaded[0] is None:
        raise ValueError(f"The checkpoint {shortened(name)!r} has no diffusion model.")
    return tuple(loaded)


def with_lora_file(model: Any, clip: Any, name: str, strength: float) -> tuple[Any, Any]:
    """MODEL and CLIP with a LoRA of the folder of LoRAs, as Load LoRA makes them.

    Raises ValueError for a file that cannot be read, and for one that has nothing for this model, or layers of another
    size: core would draw without them, and say so in its log alone.
    """
    path = folder_paths.get_full_path(LORAS, stamp(LORAS, name)[0])
    try:
        weights, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
    except Exception as error:
        raise ValueError(f"The LoRA {shortened(name)!r} cannot be read ({error}): look whether its file is whole."
                         ) from error
    patched, patched_clip = comfy.sd.load_lora_for_models(model, clip, weights, strength, strength,
                                                          lora_metadata=metadata)
    pairs = [(model, patched)] + ([(clip.patcher, patched_clip.patcher)] if clip is not None else [])
    fits = [fit for before, after in pairs for fit in _fits(before, after)]
    if not fits:
        raise ValueError(f"The LoRA {shortened(name)!r} has no weights for any layer of this model: it belongs to "
                         "another kind of model.")
    if (misfits := fits.count(False)) > MOST_MISFITS * len(fits):
        raise ValueError(f"The LoRA {shortened(name)!r} is of another size than this model in {misfits} of {len(fits)} "
                         "layers: it belongs to another kind of model.")
    return patched, patched_clip


def _fits(before: Any, after: Any) -> list[bool]:
    """Whether each patch that a patcher has more than before is of its layer's size, as far as that can be told."""
    weights = after.model.state_dict()
    return [_fits_layer(patch, weights[name]) for name, patches in after.patches.items()
            for patch in patches[len(before.patches.get(name, [])):]]


def _fits_layer(patch: tuple, weight: Any) -> bool:
    content, offset = patch[1], patch[3]
    if type(weight) is not torch.Tensor or weight.dtype not in PLAIN:
        return True  # quantised: its shape may be that of packed numbers
    shape = list(weight.shape)
    if offset is not None:
        shape[offset[0]] = offset[2]
    if isinstance(content, comfy.weight_adapter.LoRAAdapter) and content.weights[5] is None:  # it does not say a shape
        up, down, _, middle, *_ = content.weights
        if middle is not None:
            return up.shape[0] * down.shape[1] * middle[0, 0].numel() == torch.Size(shape).numel()
        return up[0].numel() == len(down) and up.shape[0] * down[0].numel() == torch.Size(shape).numel()
    if isinstance(content, tuple) and content[0] == "diff" and len(content[1]) == 1:
        return list(content[1][0].shape) == shape
    return True


def free_after(error: Exception) -> None:
    """Give memory back if an error was a lack of it, as ComfyUI does where a graph ends with it."""
    if comfy.model_management.is_oom(error):
        comfy.model_management.unload_all_models()
        comfy.model_management.soft_empty_cache()
