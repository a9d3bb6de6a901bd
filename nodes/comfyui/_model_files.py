"""Checkpoints and LoRAs by the names under which ComfyUI lists them."""
from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.sd
import comfy.utils
import folder_paths
import nodes

from ._adapter_fits import fits
from ._files import shortened

CHECKPOINTS, LORAS = "checkpoints", "loras"
MOST_MISFITS = 0.1  # share of a LoRA's layers: a few belong to inputs that models of one kind may have more of
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
    found = [fit for before, after in pairs for fit in fits(before, after)]
    if not found:
        raise ValueError(f"The LoRA {shortened(name)!r} has no weights for any layer of this model: it belongs to "
                         "another kind of model.")
    if (misfits := found.count(False)) > MOST_MISFITS * len(found):
        raise ValueError(f"The LoRA {shortened(name)!r} is of another size than this model in {misfits} of "
                         f"{len(found)} layers: it belongs to another kind of model.")
    return patched, patched_clip


def free_after(error: Exception) -> None:
    """Give memory back if an error was a lack of it, as ComfyUI does where a graph ends with it."""
    if comfy.model_management.is_oom(error):
        comfy.model_management.unload_all_models()
        comfy.model_management.soft_empty_cache()
