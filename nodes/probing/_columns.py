"""The columns of a concept sheet: which files, in which order, and what they are called."""
from __future__ import annotations

import difflib
import fnmatch
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from .. import comfyui
from ..comfyui import CHECKPOINTS, LORAS
from ..inputs import filled_lines

MOST_COLUMNS = 100
WITHOUT = "without"
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Column:
    """One column: the file of a kind, "" for the model as it is, and what stands above it."""

    label: str
    checkpoint: str = ""
    lora: str = ""


def columns_of(choice: dict[str, Any]) -> list[Column]:
    """The columns that the input `columns` asks for. Raises ValueError, in terms of its inputs, for names and patterns
    that match nothing, a folder without LoRAs, files that are there twice, and too many."""
    if choice["columns"] == CHECKPOINTS:
        names = matching(choice["names"], comfyui.listed_models(CHECKPOINTS), CHECKPOINTS, "columns.names")
        found = [Column(label, checkpoint=name) for label, name in zip(labels_of(names), names)]
    else:
        names = matching(choice["files"], in_folder(choice["folder"]), LORAS, "columns.files")
        found = [Column(label, lora=name) for label, name in zip(labels_of(names), names)]
        if choice["without"]:
            found.insert(0, Column(WITHOUT))
    if len(found) > MOST_COLUMNS:
        raise ValueError(f"The sheet would have {len(found)} columns, but at most {MOST_COLUMNS} are drawn: choose "
                         f"fewer files, such as every tenth epoch by a pattern like *0.safetensors.")
    return found


def in_folder(folder: str) -> list[str]:
    """The LoRAs of a folder of ComfyUI's LoRAs and of those inside it; all for "". Raises ValueError for none."""
    known = comfyui.listed_models(LORAS)
    inside = folder.strip().replace("\\", "/").strip("/")
    found = [name for name in known if not inside or name.startswith(f"{inside}/")]
    if not found:
        folders = sorted({str(PurePosixPath(name).parent) for name in known} - {"."})
        where = f"the folder {inside!r} of ComfyUI's LoRAs" if inside else "ComfyUI's folders of LoRAs"
        raise ValueError(f"There is no LoRA in {where}: put them under models/loras or output/loras, refresh the page, "
                         f"and name a folder that has some{said(folders, ' (', ')')}.")
    return found


def matching(text: str, known: list[str], kind: str, where: str) -> list[str]:
    """The files of `known` that lines name: whole names, or patterns with *, ? and [], whose files come in natural
    order. A name may leave the ending and the folders out.

    Raises ValueError for a line that matches nothing, for no lines, and for a file that two lines name.
    """
    lines = [line.replace("\\", "/") for line in filled_lines(text)]
    if not lines:
        raise ValueError(f"{where} is empty: write names of {kind}, one a line, or a pattern such as *.")
    found: list[str] = []
    for line in lines:
        added = matches(line, known)
        if not added:
            near = difflib.get_close_matches(line, known, SHOWN, 0.4) or sorted(known, key=natural)
            raise ValueError(f"{where}: no file of ComfyUI's {kind} matches {line!r}{said(near, '; there is ')}.")
        twice = next((name for name in added if name in found), None)
        if twice is not None and not is_pattern(line):
            raise ValueError(f"{where}: {twice!r} is there twice: leave one out.")
        found += [name for name in added if name not in found]
    return found


def is_pattern(line: str) -> bool:
    return any(character in line for character in "*?[")


def matches(line: str, known: list[str]) -> list[str]:
    """The files that one line means."""
    if line in known:
        return [line]
    # Before patterns, as a name may have brackets.
    short = [name for name in known
             if line in (PurePosixPath(name).name, PurePosixPath(name).stem, str(PurePosixPath(name).with_suffix("")))]
    if len(short) > 1:
        raise ValueError(f"{line!r} may be each of {', '.join(sorted(short, key=natural)[:SHOWN])}: write its folder, "
                         "too.")
    if short or not is_pattern(line):
        return short
    # Of a pattern without a folder the files of all folders.
    return sorted((name for name in known if fnmatch.fnmatchcase(
        name if "/" in line else PurePosixPath(name).name, line)), key=natural)


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers within names by their value: epoch 2 before epoch 10."""
    parts = filter(None, re.split(r"([0-9]+)", name.lower()))
    return [(0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part) for part in parts]


def labels_of(names: list[str]) -> list[str]:
    """What files are called: their names without folder and ending, or as much of them as tells them apart, also from
    the column without a LoRA."""
    short = [PurePosixPath(name).stem for name in names]
    count = Counter([WITHOUT, *short])
    return [label if count[label] == 1 else name for label, name in zip(short, names)]


def said(names: list[str], before: str, after: str = "") -> str:
    """Some names for the end of a sentence, nothing for none."""
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{before}{', '.join(names[:SHOWN])}{more}{after}"
