"""Draw a concept sheet of checkpoints on several ComfyUI servers, a cell at a time.

    python tools/sheet_on_servers.py GRAPH.json --servers http://10.0.0.2:8188,http://10.0.0.3:8188 --output FOLDER

GRAPH.json is a graph in API format with one ConceptSheet of checkpoints, such as
example_workflows/api/16_compare_checkpoints_word_by_word.json. Each word with each checkpoint is a graph of its own,
and is queued where its checkpoint is loaded, if it can be. What a server has done, or is about to do, is asked before
anything is queued: to run this again is safe, and makes what is missing. Pictures and tables come to FOLDER, with a
sheet of them all. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from console import Explained, make_folder, run, say
from remote_server import DONE, FAILED, UNKNOWN, WAITING, RemoteServer
from sheet_cells import MOST_ROWS, SAVING, Cell, cells, checkpoints, is_whole, page_of

DEPTH = 2  # cells that a server is given: one that it draws and one that waits
PAUSE, LOST_AFTER = 1.0, 30.0  # seconds
TRIES = 2  # of a cell that fails, or whose server is lost with it


@dataclass
class Place:
    """A server, what it has been given, and what it has drawn last."""

    server: RemoteServer
    checkpoints: dict[str, int | None] = field(default_factory=dict)
    given: list[Cell] = field(default_factory=list)
    checkpoint: str = ""
    silent: float | None = None  # since when it has not answered
    unsure: Cell | None = None  # given, but whether it has been taken was not answered
    lost: bool = False

    def give(self, cell: Cell) -> None:
        self.given.append(cell)
        self.checkpoint = cell.checkpoint


@dataclass
class Work:
    """All cells that are not over, how often each was tried, and why some have failed."""

    left: list[Cell]
    places: list[Place]
    folder: Path
    prefix: str
    tries: dict[Cell, int] = field(default_factory=dict)
    failed: dict[Cell, str] = field(default_factory=dict)

    def is_given(self, cell: Cell) -> bool:
        return any(cell in place.given for place in self.places)

    def fail(self, cell: Cell, why: str) -> None:
        """A try has come to nothing."""
        self.tries[cell] = self.tries.get(cell, 0) + 1
        if self.tries[cell] >= TRIES and cell in self.left:
            self.left.remove(cell)
            self.failed[cell] = why

    def has_fetched(self, cell: Cell, place: Place, files: dict[str, list[str]] | None = None) -> bool:
        """Whether the files of a cell could be brought here from a server: those that it says it has saved, or else
        those that it has under their names."""
        if cell not in self.left:
            return True
        found = {}
        for ending, node in SAVING.items():
            names = ([f"{self.prefix}/{cell.key}_{node}_00001_{ending}"] if files is None
                     else [name for name in files.get(node, []) if name.endswith(ending)][:1])
            content = place.server.output(names[0]) if names else None
            if content is None or not is_whole(ending, content):
                return False
            found[cell.key + ending] = content
        for name, content in found.items():
            write(self.folder / name, content)
        self.left.remove(cell)
        return True


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="sheet_on_servers.py", description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path, help="a graph in API format with one ConceptSheet of checkpoints")
    parser.add_argument("--servers", required=True, help="addresses of ComfyUI servers, apart by commas")
    parser.add_argument("--output", type=Path, required=True, help="the folder for pictures, tables and the sheet")
    parser.add_argument("--prefix", default="sheet_cells",
                        help="the folder of cells in the servers' output folders; another one draws all anew")
    options = parser.parse_args(arguments)
    prefix = checked_prefix(options.prefix)
    try:
        graph = json.loads(options.graph.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Explained(f"{options.graph} cannot be read as a graph in API format: {error}") from None
    places = reachable(addresses(options.servers))
    wanted = cells(graph, checkpoints(graph, {place.server.address: place.checkpoints for place in places}), prefix)
    failed = draw(wanted, places, options.output, prefix)
    finish(wanted, failed, places, options.output)
    for cell, message in failed.items():
        say(f"{cell.word} by {cell.checkpoint} failed: {message}")
    return 1 if failed else 0


def checked_prefix(text: str) -> str:
    """A folder below the servers' output folders. Raises `Explained` for what is none on every server: an empty name,
    one that leads out, and one in which ComfyUI would put something else."""
    prefix = text.strip("/")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", prefix) or any(not part.strip(".") for part in prefix.split("/")):
        raise Explained(f"--prefix is {text!r}: name a folder by letters, digits, _, - and ., such as sheet_cells.")
    return prefix


def addresses(text: str) -> list[str]:
    """Each server once, as http://HOST:PORT."""
    found = [part.strip().rstrip("/") for part in text.split(",") if part.strip()]
    return list(dict.fromkeys(part if "://" in part else f"http://{part}" for part in found))


def reachable(named: Sequence[str]) -> list[Place]:
    """The servers that answer. Raises `Explained` if none does."""
    places, descriptions = [], {}
    for server in map(RemoteServer, named):
        try:
            description, checkpoints = server.description(), server.checkpoints()
            descriptions[server.address] = description
            places.append(Place(server, checkpoints))
        except (OSError, ValueError, LookupError, TypeError) as error:  # an address that is none, another program
            say(f"{server.address} does not answer as ComfyUI does ({error}): the others go on without it.")
    if not places:
        raise Explained("None of the servers answers: start them, or look whether the addresses are right.")
    if len(set(descriptions.values())) > 1:
        say("The servers are not alike, and cells are rounded differently: "
            + "; ".join(f"{address} has {found}" for address, found in descriptions.items()) + ".")
    return places


def draw(wanted: Sequence[Cell], places: list[Place], folder: Path, prefix: str) -> dict[Cell, str]:
    """Draw all cells that `folder` lacks; gives those that failed, with why."""
    make_folder(folder, "Name another one with --output.")
    work = Work([cell for cell in wanted if not is_here(cell, folder)], places, folder, prefix)
    for place in places:
        ask_first(place, work)
    while work.left:
        for place in places:
            asked = time.monotonic()
            try:
                if place.lost:
                    take_back(place, work)
                else:
                    look(place, work)
                while len(place.given) < DEPTH and (cell := following(place, work.left, places)):
                    # Before it is queued: a server may take it and its answer be lost, and no cell is drawn twice.
                    place.give(cell)
                    place.unsure = cell
                    place.server.queue(cell.prompt_id, cell.again(work.tries.get(cell, 0)))
                    place.unsure = None
                place.silent = None
            except OSError as error:
                lose(place, work, error, asked)
        if work.left:
            time.sleep(PAUSE)
    return {cell: work.failed[cell] for cell in wanted if cell in work.failed}


def ask_first(place: Place, work: Work) -> None:
    """What a server has of an earlier call; one that does not answer is asked again later, before it is given
    anything."""
    place.lost = True
    with contextlib.suppress(OSError):
        take_back(place, work)


def take_back(place: Place, work: Work) -> None:
    """A server answers, for the first time or again: what it has drawn is taken, what it draws is its own, and what
    others draw by now is ended there."""
    waiting = place.server.waiting()
    place.lost = False
    for cell in list(work.left):
        if cell.prompt_id in waiting:
            if not work.is_given(cell):
                place.give(cell)
            elif cell not in place.given:
                place.server.end(cell.prompt_id)
        elif work.has_fetched(cell, place):
            for other in work.places:
                if other is not place and cell in other.given:
                    other.given.remove(cell)
                    if not other.lost:
                        other.server.end(cell.prompt_id)


def look(place: Place, work: Work) -> None:
    """Take from a server what it has done."""
    waiting = place.server.waiting()
    for cell in list(place.given):
        known = place.server.known(cell.prompt_id, waiting)
        if known.state == WAITING:
            continue
        # A server that was started anew knows nothing of what it had in its queue, but has the files.
        done = known.state != FAILED and work.has_fetched(cell, place, known.files if known.state == DONE else None)
        place.given.remove(cell)
        unsure, place.unsure = place.unsure is cell, None if place.unsure is cell else place.unsure
        if unsure and known.state == UNKNOWN and not done:
            continue  # it has never been taken
        if done:
            say(f"{cell.word} by {cell.checkpoint}: done at {place.server.address}, {len(work.left)} left")
        else:
            work.fail(cell, known.message or f"{place.server.address} has lost it, or its files")


def lose(place: Place, work: Work, error: OSError, asked: float) -> None:
    """A server that has not answered for a while, since it was `asked` for the first time in vain, gives its cells to
    the others. Raises `Explained` if none is left."""
    # Not since it answered last: others that do not answer may have been waited for meanwhile.
    place.silent = asked if place.silent is None else place.silent
    if not place.lost and time.monotonic() - place.silent > LOST_AFTER:
        say(f"{place.server.address} does not answer any more ({error}): its cells are drawn by others.")
        place.lost = True
        given, place.given = [cell for cell in place.given if cell is not place.unsure], []
        place.unsure = None
        for cell in given[:1]:  # which it was drawing, and which may be why
            work.fail(cell, f"{place.server.address} was lost as it was drawn, as the one before")
    silent = time.monotonic() - LOST_AFTER
    if all(each.lost and each.silent is not None and each.silent < silent for each in work.places):
        raise Explained("No server answers any more. Start them, and run this again: what is done is not done again.")


def following(place: Place, left: Sequence[Cell], places: Sequence[Place]) -> Cell | None:
    """The cell that a server is given next: of the checkpoint that it has, else of one that no other server has, else
    of that of which most is left."""
    given = {cell for each in places for cell in each.given}
    free = [cell for cell in left if cell not in given]
    if not free:
        return None
    taken = {each.checkpoint for each in places if each is not place and not each.lost}
    amount = {cell.checkpoint: sum(other.checkpoint == cell.checkpoint for other in free) for cell in free}
    return min(free, key=lambda cell: (cell.checkpoint != place.checkpoint, cell.checkpoint in taken,
                                       -amount[cell.checkpoint] if cell.checkpoint in taken else 0, left.index(cell)))


def is_here(cell: Cell, folder: Path) -> bool:
    """Whether the files of a cell are there, whole: after a loss of power they may be empty."""
    files = {ending: folder / (cell.key + ending) for ending in SAVING}
    return all(path.is_file() and is_whole(ending, path.read_bytes()) for ending, path in files.items())


def write(path: Path, content: bytes) -> None:
    """Whole or not at all. Raises `Explained` where that cannot be: no server is to blame for it."""
    beside = path.with_name(f"{path.name}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        raise Explained(f"{path} cannot be written ({error.strerror or error}): make room, or name another folder with "
                        "--output. What servers have drawn is not drawn again.") from None


def finish(wanted: Sequence[Cell], failed: dict[Cell, str], places: Sequence[Place], folder: Path) -> None:
    """A list of all cells, and pages with a row for each word, drawn by one of the servers."""
    listed = [{"word": cell.word, "checkpoint": cell.checkpoint,
               **({"problem": failed[cell]} if cell in failed else
                  {"picture": f"{cell.key}.png", "table": f"{cell.key}.json"})} for cell in wanted]
    write(folder / "cells.json", json.dumps(listed, indent=1).encode())
    by_word: dict[str, list[Cell]] = {}
    for cell in wanted:
        by_word.setdefault(cell.word, []).append(cell)
    words = list(by_word)
    names = list(dict.fromkeys(cell.checkpoint for cell in wanted))
    for page, first in enumerate(range(0, len(words), MOST_ROWS), 1):
        rows = {word: [None if cell in failed else f"{cell.key}.png" for cell in by_word[word]]
                for word in words[first : first + MOST_ROWS]}
        write(folder / f"sheet_{page}.png", drawn_page(rows, names, places, folder))
    say(f"{len(wanted) - len(failed)} of {len(wanted)} cells are in {folder}.")


def drawn_page(rows: dict[str, list[str | None]], names: Sequence[str], places: Sequence[Place],
               folder: Path) -> bytes:
    """The picture of a page, by the first server that draws it. Raises `Explained` where none does."""
    why = "no server answers"
    for place in sorted(places, key=lambda place: place.lost):
        server = place.server
        try:
            known = {name: server.upload(f"sheet_on_servers/{name}", (folder / name).read_bytes())
                     for row in rows.values() for name in row if name}
            graph = page_of({word: [known[name] if name else None for name in row] for word, row in rows.items()},
                            names)
            key = uuid.uuid4().hex  # a new one: it takes no time, and the file of an earlier call may be gone
            graph["save"] = {"class_type": "SaveImage",
                             "inputs": {"images": ["sheet", 0], "filename_prefix": f"sheet_on_servers/{key}"}}
            prompt_id = str(uuid.UUID(key))
            server.queue(prompt_id, graph)
            while (found := server.known(prompt_id, server.waiting())).state == WAITING:
                time.sleep(PAUSE)
            content = server.output(found.files["save"][0]) if found.files.get("save") else None
            if content is not None and is_whole(".png", content):
                return content
            why = found.message or f"{server.address} has lost it"
        except OSError as error:
            why = str(error)
    raise Explained(f"All cells are in {folder}, but their sheet could not be drawn: {why}. Run this again for it.")


if __name__ == "__main__":
    run(main)
