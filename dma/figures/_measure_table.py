"""A table of measures as a picture."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..metrics import Measure, MeasureTable
from ._lettering import Lettering, writable

MARGIN, GAP = 16, 14
LINE, SHADE = "#b9bec5", "#f3f5f7"
MOST_ROWS, MOST_COLUMNS = 200, 16
BETTER = {"lower": "lower is better", "higher": "higher is better"}


def plot_measures(table: MeasureTable, *, width: int = 1024) -> Tensor:
    """The table as an image (1, H, W, 3) in [0, 1], `width` pixels wide: numbers with their 95 % intervals, and below
    them what is to be known of them: how they were found and what with, and why some are missing.

    What is said of a number has a mark, [1] and so on; it stands with the measure where it is said of all its numbers.

    A row for each measure and a column for each thing measured, or the other way round where that takes fewer columns.
    At most 200 rows and 16 columns; a line says where some are left out.

    Raises ValueError for a table without rows.
    """
    from PIL import Image, ImageDraw

    if not table.rows:
        raise ValueError("This table has no measures.")
    letters = Lettering(max(11, width // 64))
    cells, notes = _cells(table)
    columns = len(cells[0])
    wide = width - 2 * MARGIN
    widest = max(letters.width(line) for row in cells for line in writable(row[0]).split("\n"))
    first = min(0.3 * wide, widest + GAP + 1)
    widths = [first, *[(wide - first) / (columns - 1)] * (columns - 1)]
    lines = [[_wrapped(letters, text, cell - GAP) for text, cell in zip(row, widths)] for row in cells]
    heights = [max(map(len, row)) * letters.height + GAP for row in lines]
    below = [line for note in notes for line in letters.wrapped(writable(note), width - 2 * MARGIN)]
    height = 2 * MARGIN + sum(heights) + (len(below) * letters.height + GAP if below else 0)
    picture = Image.new("RGB", (width, int(height)), "white")
    draw = ImageDraw.Draw(picture)
    top = MARGIN
    for number, (row, tall) in enumerate(zip(lines, heights)):
        if number % 2:
            draw.rectangle([MARGIN / 2, top, width - MARGIN / 2, top + tall], fill=SHADE)
        left = MARGIN
        for block, cell in zip(row, widths):
            letters.draw(draw, left, top + GAP / 2, block)
            left += cell
        top += tall
        if number == 0:
            draw.line([MARGIN / 2, top, width - MARGIN / 2, top], fill=LINE, width=2)
    if below:
        letters.draw(draw, MARGIN, top + GAP, below)
    return torch.from_numpy(np.asarray(picture).copy()).float()[None] / 255


def _cells(table: MeasureTable) -> tuple[list[list[str]], list[str]]:
    """The texts of the table, its heads among them, and what is to be said below it of what is shown."""
    subjects, names = table.subjects(), table.names()
    upright = len(subjects) <= len(names)  # a row for each measure
    down, across = (names, subjects) if upright else (subjects, names)
    left_out = [f"{most} of {len(entries)} {what}" for entries, most, what in (
        (down, MOST_ROWS, "rows"), (across, MOST_COLUMNS, "columns")) if len(entries) > most]
    down, across = down[:MOST_ROWS], across[:MOST_COLUMNS]
    subjects, names = (across, down) if upright else (down, across)
    kept = set(subjects), set(names)
    shown = [row for row in table.rows if row.subject in kept[0] and row.name in kept[1]]
    found: dict[tuple[str, str], Measure] = {(row.subject, row.name): row for row in shown}
    better = {row.name: BETTER[row.better] for row in reversed(shown) if row.better}
    marks: dict[str, str] = {}
    said: dict[str, set[str]] = {}
    for row in shown:
        said.setdefault(row.name, set()).add(row.note)
        if row.note:
            marks.setdefault(row.note, f"[{len(marks) + 1}]")
    shared = {name: marks.get(*notes) if len(notes) == 1 else None for name, notes in said.items()}
    heads = {name: "\n".join(filter(None, (" ".join(filter(None, (name, shared.get(name)))), better.get(name))))
             for name in names}
    notes = [*left_out, *(f"{mark} {note}" for note, mark in marks.items())]

    def text(subject: str, name: str) -> str:
        row = found.get((subject, name))
        if row is None:
            return ""
        number, _, rest = row.text().partition(" (")
        mark = "" if shared.get(name) or not row.note else f" {marks[row.note]}"
        return f"{number}{mark}" + (f"\n({rest}" if rest else "")

    if upright:
        rows = [["", *subjects], *([heads[name], *(text(subject, name) for subject in subjects)] for name in names)]
    else:
        rows = [["", *heads.values()], *([subject, *(text(subject, name) for name in names)] for subject in subjects)]
    return rows, notes


def _wrapped(letters: Any, text: str, width: float) -> list[str]:
    return [line for part in text.split("\n") for line in letters.wrapped(writable(part), width)] or [""]
