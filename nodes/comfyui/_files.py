"""Where files of the pack go: always inside ComfyUI's own folders."""
from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import folder_paths

from ...dma.files import inside, replacing

LONGEST_SHOWN = 80  # characters of a name in a message


def output_path(prefix: str, ending: str, *further: str) -> Path:
    """The next file name `<prefix>_00001_<ending>` in ComfyUI's output folder that is free with this ending and those
    of `further`, for files that belong together; sub-folders are made.

    Raises ValueError if the prefix points outside that folder, or where there can be no such file.
    """
    target = in_output_folder(prefix, len(f"_00001_{ending}"), "report")
    with explaining_what_cannot_be_written(prefix):
        target.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        # Not exists(), which says no where a name is too long or a folder may not be looked into.
        while any(os.path.lexists(target.parent / f"{target.name}_{number:05}_{each}") for each in (ending, *further)):
            number += 1
        return target.parent / f"{target.name}_{number:05}_{ending}"


def fixed_output_path(prefix: str, ending: str) -> Path:
    """The file `<prefix><ending>` in ComfyUI's output folder, which may be there; sub-folders are made.

    Raises ValueError if the prefix points outside that folder, and OSError where there can be no such file.
    """
    target = in_output_folder(prefix, len(ending), "mean")
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f"{target.name}{ending}")
    # Before any work, and not when it is to be written.
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path.name)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path.parent.name)
    return path


def in_output_folder(prefix: str, room: int, example: str) -> Path:
    """Where a prefix points in ComfyUI's output folder, with room for so many characters more. Raises ValueError, with
    an example of a name, if that is outside."""
    try:
        return inside(Path(folder_paths.get_output_directory()), prefix, room=room)
    except ValueError:
        raise ValueError(f"{shortened(prefix)!r} is not a file name inside ComfyUI's output folder: use a plain name "
                         f"such as {example}.") from None


@contextlib.contextmanager
def explaining_what_cannot_be_written(prefix: str) -> Iterator[None]:
    """Turn what the system says of a file in ComfyUI's output folder that cannot be written into a ValueError."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk by an exception type of its own
        raise ValueError(f"{shortened(prefix)!r} cannot be written into ComfyUI's output folder ({error}): make room, "
                         "allow writing there, or choose another name.") from error


def writable_folder(path: Path) -> tuple[Path, bool]:
    """The nearest folder above a path that is there, and whether files and folders can be made in it."""
    folder = next(parent for parent in path.parents if parent.exists())
    return folder, folder.is_dir() and os.access(folder, os.W_OK)


def is_writable_prefix(prefix: str) -> bool:
    """Whether files of this prefix can be written into ComfyUI's output folder; it is looked at and not changed."""
    root = Path(folder_paths.get_output_directory())
    try:
        # Save LoRA Weights adds a number and an ending.
        return writable_folder(inside(root, prefix, room=len("_00001_.safetensors")))[1]
    except ValueError:
        return False


def check_prefix(given: str, prefix: str, example: str) -> None:
    """Raise ValueError, with an example of a name, if files of the `prefix` that save_as, as it was given, leads to
    could not be written into ComfyUI's output folder."""
    if not is_writable_prefix(prefix):
        raise ValueError(f"save_as is {shortened(given)!r}, which is no place for files in ComfyUI's output folder: "
                         f"use a name, with / for sub-folders, such as {example}.")


def readable_path(name: str) -> Path:
    """An existing file named relative to ComfyUI's output or input folder.

    Raises ValueError if it is in neither, or outside both.
    """
    for folder in (folder_paths.get_output_directory(), folder_paths.get_input_directory()):
        with contextlib.suppress(ValueError):
            path = inside(Path(folder), name)
            if path.is_file():
                return path
    raise ValueError(f"There is no file {shortened(name)!r} in ComfyUI's output or input folder.")


def write_output_text(prefix: str, ending: str, text: str) -> str:
    """Write a text file into the output folder, whole or not at all; returns its name relative to that folder."""
    return write_output_texts(prefix, {ending: text})[0]


def write_output_texts(prefix: str, texts: Mapping[str, str]) -> list[str]:
    """Write text files that belong together, by their endings, under one number, each whole or not at all; returns
    their names relative to the output folder."""
    first, *further = texts
    path, written = output_path(prefix, first, *further), []
    for ending, text in texts.items():
        target = path.with_name(path.name.removesuffix(first) + ending)
        with explaining_what_cannot_be_written(prefix), replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
        written.append(output_name(target))
    return written


def output_name(path: Path) -> str:
    """The name of a file in ComfyUI's output folder, relative to it."""
    return path.relative_to(Path(folder_paths.get_output_directory()).resolve()).as_posix()


def shortened(name: str) -> str:
    """A name as it can be shown in a message."""
    return name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}..."


def readable_paths(names: Iterable[str], ending: str) -> list[Path]:
    """Existing files named relative to ComfyUI's output or input folder; a * in the last part of a name stands for any
    part of it, and for the files of both folders that have this ending: pictures may lie beside them, and what is just
    being written. Each file comes once, in the order of the names.

    Raises ValueError for a name without a file, as `readable_path` does.
    """
    found: dict[Path, None] = {}
    for name in names:
        folder, _, pattern = name.rpartition("/")
        if "*" not in pattern:
            found[readable_path(name)] = None
            continue
        matched: list[Path] = []
        for root in (folder_paths.get_output_directory(), folder_paths.get_input_directory()):
            with contextlib.suppress(ValueError):
                place = inside(Path(root), folder) if folder else Path(root).resolve()
                # Only the * is a pattern.
                literal = pattern.replace("[", "[[]").replace("?", "[?]")
                matched += [readable_path(f"{folder}/{path.name}" if folder else path.name)
                            for path in sorted(place.glob(literal)) if path.name.endswith(ending) and path.is_file()]
        if not matched:
            raise ValueError(f"There is no file like {shortened(name)!r} that ends in {ending} in ComfyUI's output or "
                             "input folder.")
        found |= dict.fromkeys(matched)
    return list(found)


def readable_fingerprint(name: str | None) -> str | float:
    """What tells ComfyUI whether the file of a node's input, in its output or input folder, has changed."""
    if name is None:
        # ComfyUI does not say what comes over a link: read again each time.
        return float("nan")
    try:
        return content_hash(readable_path(name))
    except ValueError:
        return ""


def readable_fingerprints(names: Iterable[str], ending: str) -> str:
    """What tells ComfyUI whether any of several files of a node's input has changed; empty where one is not there."""
    try:
        return " ".join(content_hash(path) for path in readable_paths(names, ending))
    except (ValueError, OSError):  # one that has just been removed, too
        return ""


def content_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
