"""Files of embeddings in ComfyUI's folders: their names, whether one is taken, reading whose they are, writing them."""
from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

import comfy.cli_args
import comfy.clip_model
import comfy.sampler_helpers
import comfy.samplers
import comfy.sd1_clip
import folder_paths
import torch
from torch import Tensor

from ...dma.files import inside, replacing
from ._files import shortened, writable_folder

FORMAT = "mental-averages/embedding-1"
ENDING = ".safetensors"
# What stays one word of a prompt: no spaces, commas, brackets or colons; no part begins or ends with a dot.
NAME = re.compile(r"[\w-]([\w.-]*[\w-])?(/[\w-]([\w.-]*[\w-])?)*")


def plain_name(name: str) -> str:
    return name.strip().removesuffix(ENDING)


def embedding_path(name: str) -> Path:
    """The file of an embedding in the first of ComfyUI's folders of embeddings.

    Raises ValueError if the name would leave that folder, could not be read in a prompt, or cannot be written.
    """
    root = Path(folder_paths.get_folder_paths("embeddings")[0]).resolve()
    try:
        if not NAME.fullmatch(name):
            raise ValueError(name)
        path = inside(root, f"{name}{ENDING}")
    except ValueError:
        raise ValueError(f"{shortened(name)!r} cannot be the name of an embedding inside {root.name}: use letters, "
                         "digits, _, - and single dots, and / for sub-folders, such as castle/mode_1.") from None
    folder, is_writable = writable_folder(path)
    if not is_writable:
        raise ValueError(f"The embedding {name!r} cannot be written, because {folder} is not a folder that can be "
                         "written to.")
    return path


def check_readable(name: str, path: Path) -> None:
    """Raise ValueError if `embedding:name` could be read from another file."""
    others = [found for found in embeddings_named(name) if found != path]
    if others:
        raise ValueError(f"embedding:{name} is read from {others[0]} already: choose another name.")


def name_is_taken(name: str, path: Path) -> ValueError:
    return ValueError(f"There is an embedding {name!r} already ({path}): choose another name, or set overwrite.")


def is_readable_embedding(path: Path) -> bool:
    """Whether a file is whole: of one that was cut short, or is of another kind, nobody knows whose it is."""
    return _header(path) is not None


def is_from(path: Path, origin: str) -> bool:
    """Whether an embedding's file says that it is of this origin."""
    header = _header(path) or {}
    return bool(origin) and header.get("format") == FORMAT and header.get("origin") == origin


def _header(path: Path) -> dict[str, str] | None:
    """What an embedding's file says of itself; None where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):
        return None


def write_embedding(name: str, path: Path, content: dict[str, Tensor], settings: dict[str, Any], overwrite: bool,
                    origin: str = "") -> None:
    """Write a file that `embedding:name` reads, whole or not at all. One with the same vectors is left as it is.

    Raises ValueError if there is one of another origin, or an unreadable file, in its place by now, and where it cannot
    be written.
    """
    from safetensors.torch import load_file, save_file

    if path.exists() and not overwrite:
        if not is_readable_embedding(path):
            raise name_is_taken(name, path)
        present = load_file(path)
        if (present.keys() == content.keys()
            and all(torch.equal(present[encoder], content[encoder]) for encoder in content)):
            return
        if not is_from(path, origin):
            raise name_is_taken(name, path)
    header = {"format": FORMAT, "settings": json.dumps(settings), "origin": origin}
    if comfy.cli_args.args.disable_metadata:
        # An origin is a hash, which tells nothing of the graph; without it a node would not know its own file again.
        header = {"format": FORMAT, "origin": origin} if origin else {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file({encoder: values.contiguous() for encoder, values in content.items()}, temporary,
                      metadata=header)
    except Exception as error:  # safetensors reports a full disk by an exception type of its own
        raise ValueError(f"The embedding could not be written to {path} ({error}). Make room and queue the graph "
                         "again: with resume on, nothing is trained twice.") from error


NAMED = re.compile(r"embedding:\s*([^\s<\[]+)")
ENDINGS = ("", ".safetensors", ".pt", ".bin")  # those that core tries for `embedding:name`


def embeddings_named(name: str) -> list[Path]:
    """The files that core might read for `embedding:name`: it looks into sub-folders too, in no particular order."""
    folders = comfy.sd1_clip.expand_directory_list(folder_paths.get_folder_paths("embeddings"))
    candidates = (Path(folder) / f"{name}{ending}" for folder, ending in itertools.product(folders, ENDINGS))
    # Not is_file(), which raises where a name is too long.
    return sorted({path.resolve() for path in candidates if os.path.isfile(path)})


def embedding_stamps(*texts: str | None) -> list[tuple[str, int, int]]:
    """What tells the contents of the embeddings that prompts name (`embedding:name`) from others without reading them:
    path, size and time of change of each file. Texts that are not known yet name none."""
    core = comfy.sd1_clip
    words = [core.unescape_important(word) for text in texts if isinstance(text, str)
             for word, _ in core.token_weights(core.escape_important(text), 1.0)]
    # Core looks without commas, too.
    named = {name for word in words for found in NAMED.findall(word) for name in (found, found.strip(","))}
    stamps = []
    for path in sorted({path for name in named for path in embeddings_named(name)}):
        with contextlib.suppress(OSError):  # one that has just been removed
            found = path.stat()
            stamps.append((str(path), found.st_size, found.st_mtime_ns))
    return stamps
