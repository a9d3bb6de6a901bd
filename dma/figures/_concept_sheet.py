"""Averages of words by models, with what was measured of each below it."""
from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..metrics import ConceptCell, Measure, MeasureTable, subject_of
from ._lettering import COLOUR, Lettering, writable
from ._sheet import scaled, width_at

LEAST_CELL = 128  # pixels
LONGEST_SIDE = 4096  # of a page, unless a single cell takes more
MOST_SHARES = 4  # below a picture; the table has them all
GAP, BAR = 10, 5
FLAG, FAILED, BACK, FILL = "#b3261e", "#f3f5f7", "#e3e6ea", "#8fb3f5"


@dataclass(frozen=True)
class Line:
    """A line below a picture, with the bar of a share and its interval if it is one."""

    text: str
    share: Measure | None = None
    flag: bool = False


@dataclass(frozen=True)
class Drawn:
    """A cell with its lines in letters: what stands where its picture is not, and what stands below it."""

    cell: ConceptCell
    inside: list[str]
    below: list[tuple[str, Measure | None, bool]]


def concept_sheet(words: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[ConceptCell]],
                  table: MeasureTable, *, title: str = "", cell: int = 192) -> Tensor:
    """A row for each word and a column for each model, with the measures of `concept_table` below each average, and
    what went wrong in the place of an average that there is not. Returns pages (P, H, W, 3) of one size in [0, 1].

    Pictures are `cell` pixels high, or as much smaller as makes all columns fit on a page of 4096 pixels, but 128 at
    least. What does not fit then goes on on further pages, each with its words and columns at its edges.

    Raises ValueError for no words or columns, and for a `cell` below 128.
    """
    if not words or not columns:
        raise ValueError("A sheet needs a word and a column, one or more.")
    if cell < LEAST_CELL:
        raise ValueError(f"cell is {cell}: below pictures of less than {LEAST_CELL} pixels nothing can be read.")
    size = _size_that_fits(columns, cells, cell)
    letters, heads = Lettering(max(11, size // 14)), Lettering(max(12, size // 11))
    wide = _width(cells, size)
    found = _lines(words, columns, table)
    drawn = [[_drawn(cells[row][column], found[row][column], letters, wide) for column in range(len(columns))]
             for row in range(len(words))]
    named = [_named(heads, word, size) for word in words]
    left = int(max(heads.width(line) for lines in named for line in lines)) + 2 * GAP
    row_heights = [max(size + GAP + max(_height(each, letters) for each in row), len(name) * heads.height) + GAP
                   for name, row in zip(named, drawn)]
    top = _top(columns, heads, wide, title)
    across = max(1, (LONGEST_SIDE - left) // (wide + GAP))
    pages = [_page(words, columns, drawn, rows, part, title, heads, letters, size, wide, left, top, row_heights)
             for rows in _runs(row_heights, LONGEST_SIDE - top)
             for part in (range(len(columns))[start : start + across] for start in range(0, len(columns), across))]
    # Of bytes until all are there: a hundred rows may take a gigabyte.
    height, width = max(page.shape[0] for page in pages), max(page.shape[1] for page in pages)
    whole = torch.full((len(pages), height, width, 3), 255, dtype=torch.uint8)
    for place, page in zip(whole, pages):
        place[: page.shape[0], : page.shape[1]] = page
    del pages
    return whole.float().div_(255)


def _size_that_fits(columns: Sequence[str], cells: Sequence[Sequence[ConceptCell]], cell: int) -> int:
    while cell > LEAST_CELL and len(columns) * (_width(cells, cell) + GAP) + cell + 2 * GAP > LONGEST_SIDE:
        cell -= 1
    return cell


def _width(cells: Sequence[Sequence[ConceptCell]], size: int) -> int:
    """The width of all columns: that of the widest picture, but no less than the letters below need."""
    shapes = {each.average.shape[:2] for row in cells for each in row if each.average is not None}
    return max([LEAST_CELL, *(width_at(size, *shape) for shape in shapes)])


def _runs(heights: list[int], room: int) -> list[list[int]]:
    """Rows one after another as they fit on pages, one at least."""
    found: list[list[int]] = [[]]
    for row, height in enumerate(heights):
        if found[-1] and sum(heights[each] for each in found[-1]) + height > room:
            found.append([])
        found[-1].append(row)
    return found


def _lines(words: Sequence[str], columns: Sequence[str], table: MeasureTable) -> list[list[list[Line]]]:
    found: dict[str, list[Measure]] = {}
    for row in table.rows:
        found.setdefault(row.subject, []).append(row)
    return [[_lines_of(found.get(subject_of(word, column), [])) for column in columns] for word in words]


def _lines_of(rows: list[Measure]) -> list[Line]:
    shares = [row for row in rows if row.name.startswith("share of ")]
    lines = [Line(f"{row.name.removeprefix('share of ')} {row.value:.0%} ({row.low:.0%} to {row.high:.0%})", row)
             for row in shares[:MOST_SHARES]]
    if len(shares) > MOST_SHARES:
        lines.append(Line(f"and {len(shares) - MOST_SHARES} more"))
    measured = [row for row in rows if row.value is not None]
    lines += [Line(f"{row.name} {_short(row)}") for row in measured if row.name in ("spread", "drift")]
    if not any(row.name == "drift" for row in measured):
        lines += [Line(f"{row.name} {_short(row)}") for row in measured if row.name == "average moved"]
    lines += [Line(f"! {flag}", flag=True) for row in rows if row.name == "flags"
              for flag in row.note.split("; ") if flag]
    return lines


def _short(row: Measure) -> str:
    """A number with its interval, in as few digits as tell it from others."""
    if row.value is None or not 0.1 <= row.value < 100 or row.low is None or row.high is None:
        return row.text()
    return f"{row.value:.2f} ({row.low:.2f} to {row.high:.2f})"


def _named(letters: Lettering, name: str, width: float) -> list[str]:
    """The lines of a name, broken where it has a space, a line, a dot or a slash, if it is too long."""
    lines = [""]
    for part in re.findall(r"[^\s_./-]*[\s_./-]*", writable(name)):
        if lines[-1] and letters.width((lines[-1] + part).rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line for each in lines for line in letters.wrapped(each, width)]


def _drawn(cell: ConceptCell, lines: list[Line], letters: Lettering, wide: int) -> Drawn:
    below = []
    for line in lines:
        wrapped = letters.wrapped(writable(line.text), wide)
        below += [(text, None, line.flag) for text in wrapped[:-1]]
        below.append((wrapped[-1], line.share, line.flag))
    return Drawn(cell, letters.wrapped(writable(cell.problem), wide - GAP), below)


def _height(drawn: Drawn, letters: Lettering) -> int:
    return sum(letters.height + (BAR + 3 if share is not None else 0) for _, share, _ in drawn.below)


def _top(columns: Sequence[str], heads: Lettering, wide: int, title: str) -> int:
    lines = max(len(_named(heads, column, wide)) for column in columns)
    return GAP + (heads.height + GAP) * bool(title) + lines * heads.height + GAP


def _page(words: Sequence[str], columns: Sequence[str], drawn: list[list[Drawn]], rows: Sequence[int],
          part: Sequence[int], title: str, heads: Lettering, letters: Lettering, size: int, wide: int, left: int,
          top: int, heights: list[int]) -> Tensor:
    from PIL import Image, ImageDraw

    title_width = math.ceil(heads.width(writable(title))) + 2 * GAP if title else 0
    page = Image.new("RGB", (max(left + len(part) * (wide + GAP), min(title_width, LONGEST_SIDE)),
                             top + sum(heights[row] for row in rows)), "white")
    draw = ImageDraw.Draw(page)
    if title:
        heads.draw(draw, GAP, GAP, [writable(title)])
    for place, column in enumerate(part):
        lines = _named(heads, columns[column], wide)
        heads.draw(draw, left + place * (wide + GAP), top - GAP - len(lines) * heads.height, lines)
    for row in rows:
        heads.draw(draw, GAP, top, _named(heads, words[row], size))
        for place, column in enumerate(part):
            _cell(page, draw, drawn[row][column], letters, left + place * (wide + GAP), top, size, wide)
        top += heights[row]
    return torch.from_numpy(np.asarray(page).copy())


def _cell(page: Any, draw: Any, drawn: Drawn, letters: Lettering, left: int, top: int, size: int, wide: int) -> None:
    if drawn.cell.average is None:
        draw.rectangle([left, top, left + wide, top + size], fill=FAILED, outline=FLAG)
        most = max(1, (size - GAP) // letters.height)
        lines = drawn.inside if len(drawn.inside) <= most else [*drawn.inside[: most - 1], "..."]
        letters.draw(draw, left + GAP / 2, top + GAP / 2, lines)
    else:
        page.paste(scaled(drawn.cell.average.float() / 255, size), (left, top))
    top += size + GAP // 2
    for text, share, flag in drawn.below:
        letters.draw(draw, left, top, [text], colour=FLAG if flag else COLOUR)
        top += letters.height
        if share is not None:
            _bar(draw, share, left, top, wide)
            top += BAR + 3


def _bar(draw: Any, share: Measure, left: int, top: int, wide: int) -> None:
    """A share as the filled part of a bar, and its interval as a line through it."""
    def across(value: float | None) -> float:
        return left + (value or 0.0) * (wide - 1)

    draw.rectangle([left, top, left + wide - 1, top + BAR - 1], fill=BACK)
    if share.value:
        draw.rectangle([left, top, across(share.value), top + BAR - 1], fill=FILL)
    draw.line([across(share.low), top + BAR // 2, across(share.high), top + BAR // 2], fill=COLOUR)
