"""A concept sheet of checkpoints as a graph for each of its cells. Standard library only."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from console import Explained

SHEET, COLUMNS, NAMES, WORDS = "ConceptSheet", "columns", "columns.names", "words"
# What a cell saves: by the ending of its file here, the node that saves it.
SAVING = {".png": "averages", ".json": "table"}
MOST_ROWS, MOST_COLUMNS = 20, 64  # of LabelledSheet
GREY = 0x808080


@dataclass(frozen=True, eq=False)
class Cell:
    """One word by one checkpoint: the graph that draws it, and the id that every server knows it by."""

    word: str
    checkpoint: str
    key: str
    graph: dict[str, Any]

    @property
    def prompt_id(self) -> str:
        return str(uuid.UUID(self.key))

    def again(self, tries: int) -> dict[str, Any]:
        """The graph of another try: it saves under other names, so that a server that has drawn the cell before, and
        whose files are gone, writes them anew."""
        if not tries:
            return self.graph
        return {name: node if name not in SAVING.values() else {**node, "inputs": {
            **node["inputs"], "filename_prefix": f"{node['inputs']['filename_prefix']}_{tries}"}}
            for name, node in self.graph.items()}


def sheet_of(graph: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The id of the graph's ConceptSheet and its inputs. Raises `Explained` unless there is one of checkpoints."""
    if not all(isinstance(node, dict) and isinstance(node.get("inputs"), dict) and "class_type" in node
               for node in graph.values()):
        raise Explained("This is no graph in API format: save it in ComfyUI by Export (API).")
    found = [(name, node["inputs"]) for name, node in graph.items() if node["class_type"] == SHEET]
    if len(found) != 1:
        raise Explained(f"The graph is to have one {SHEET}, but it has {len(found)}.")
    inputs = found[0][1]
    if inputs.get(COLUMNS) != "checkpoints":
        raise Explained(f"The columns of the {SHEET} are to be checkpoints, but are {inputs.get(COLUMNS)!r}: LoRAs "
                        "share a model that is loaded already, which one server draws best.")
    for name in (WORDS, NAMES):
        if not isinstance(inputs.get(name), str) or not inputs[name].strip():
            raise Explained(f"{name} of the {SHEET} is to be text, but is {inputs.get(name)!r}: write it into the node "
                            "in place of a link.")
    return found[0]


def checkpoints(graph: dict[str, Any], listed: Mapping[str, Mapping[str, int | None]]) -> list[str]:
    """The checkpoints that the sheet names, in its order, which every server has; `listed`: their sizes, by name, by
    the address of a server. Raises `Explained` for one that is missing, or is another file elsewhere."""
    (first, known), *others = listed.items()
    found: dict[str, None] = {}
    for line in lines_of(sheet_of(graph)[1][NAMES]):
        matched = matches(line.replace("\\", "/"), list(known))
        if not matched:
            raise Explained(f"{first} has no checkpoint {line!r}.")
        found |= dict.fromkeys(matched)
    for address, sizes in others:
        if missing := [name for name in found if name not in sizes]:
            raise Explained(f"{address} lacks {', '.join(missing)}: give all servers the same checkpoints.")
        if other := [name for name in found if None not in (known[name], sizes[name]) and known[name] != sizes[name]]:
            raise Explained(f"{', '.join(other)} is another file at {address} than at {first}, by its size: give all "
                            "servers the same checkpoints.")
    return list(found)


def matches(line: str, known: Sequence[str]) -> list[str]:
    """The names that one line means, as ConceptSheet reads it: a name, one without its ending or folders, or a pattern,
    whose files come in natural order."""
    if line in known:
        return [line]
    if any(character in line for character in "*?["):
        return sorted((name for name in known if fnmatch.fnmatchcase(
            name if "/" in line else PurePosixPath(name).name, line)), key=natural)
    short = [name for name in known
             if line in (PurePosixPath(name).name, PurePosixPath(name).stem, str(PurePosixPath(name).with_suffix("")))]
    if len(short) > 1:
        raise Explained(f"{line!r} may be each of {', '.join(sorted(short, key=natural))}: write its folder, too.")
    return short


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers within names by their value: epoch 2 before epoch 10."""
    parts = filter(None, re.split(r"([0-9]+)", name.lower()))
    return [(0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part) for part in parts]


def lines_of(text: str) -> list[str]:
    return list(dict.fromkeys(filter(None, map(str.strip, text.splitlines()))))


def cells(graph: dict[str, Any], names: Sequence[str], prefix: str) -> list[Cell]:
    """All cells, in the order of their checkpoints. Another prefix makes others of them, also of what is here."""
    sheet, inputs = sheet_of(graph)
    found = []
    for name in names:
        for word in lines_of(inputs[WORDS]):
            own = {**inputs, WORDS: word, NAMES: name}
            # Titles and the like change nothing.
            needed = {each: {part: graph[each][part] for part in ("class_type", "inputs")}
                      for each in ancestors(graph, sheet)}
            needed[sheet]["inputs"] = own
            key = hashlib.sha256(json.dumps([needed, sheet, prefix], sort_keys=True).encode()).hexdigest()[:32]
            saved = {SAVING[".png"]: ("SaveImage", {"images": [sheet, 1]}),
                     SAVING[".json"]: ("SaveTable", {"tables.tables0": [sheet, 2], "names": ""})}
            if clash := needed.keys() & saved.keys():
                raise Explained(f"A node of the graph has the id {', '.join(sorted(clash))}, which the cells need for "
                                "themselves: give it another one.")
            found.append(Cell(word, name, key, needed | {
                each: {"class_type": kind, "inputs": {**of, "filename_prefix": f"{prefix}/{key}_{each}"}}
                for each, (kind, of) in saved.items()}))
    return found


def ancestors(graph: dict[str, Any], name: str) -> list[str]:
    """A node and all that it depends on."""
    found, coming = [], [name]
    while coming:
        each = coming.pop()
        if each not in found:
            found.append(each)
            coming += [value[0] for value in graph[each]["inputs"].values() if isinstance(value, list)
                       and len(value) == 2 and value[0] in graph]
    return found


def is_whole(name: str, content: bytes) -> bool:
    """Whether a file is all there: one whose server was ended as it was written is not."""
    if name.endswith(".png"):
        return content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False


def page_of(rows: Mapping[str, Sequence[str | None]], columns: Sequence[str]) -> dict[str, Any]:
    """The graph of a page: by word the pictures of its columns, names that LoadImage knows, with grey for None."""
    graph: dict[str, Any] = {"none": {"class_type": "EmptyImage", "inputs": {
        "width": 192, "height": 192, "batch_size": 1, "color": GREY}}}
    inputs: dict[str, Any] = {}
    for number, pictures in enumerate(rows.values()):
        joined = None
        for column, picture in enumerate(pictures):
            place, each = f"{number}_{column}", "none"
            if picture is not None:
                each = f"picture_{place}"
                graph[each] = {"class_type": "LoadImage", "inputs": {"image": picture}}
            if joined is None:
                joined = [each, 0]
            else:
                graph[f"joined_{place}"] = {"class_type": "ImageBatch", "inputs": {"image1": joined,
                                                                                   "image2": [each, 0]}}
                joined = [f"joined_{place}", 0]
        inputs[f"rows.images{number}"] = joined
    # Core makes the pictures of a batch as large as its first.
    graph["sheet"] = {"class_type": "LabelledSheet", "inputs": {
        **inputs, "captions": "\n".join(rows), "title": ", ".join(columns), "cell": 192,
        "columns": min(MOST_COLUMNS, len(columns))}}
    return graph
