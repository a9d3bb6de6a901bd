"""Files that a node of this pack has saved, for the node that loads them again."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from comfy_api.latest import io

from .. import comfyui

Found = TypeVar("Found")


def saved_file() -> io.String.Input:
    return io.String.Input("path", default="", tooltip="A file in ComfyUI's output or input folder.")


def from_saved_file(path: str, read: Callable[[Path], Found], saver: str) -> Found:
    """What `read` makes of a file in ComfyUI's output or input folder. Raises ValueError where there is none, and with
    advice to choose what `saver` wrote for one that it cannot read."""
    found = comfyui.readable_path(path)
    try:
        return read(found)
    except ValueError as error:
        raise ValueError(f"{error} Choose a file that {saver} wrote.") from None
