"""What a benchmark hands over: tables for the docs, figures as JSON, sheets of pictures."""
from __future__ import annotations

import json
import textwrap
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

HEADING = 12  # height of the letters over a column, in pixels


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """A Markdown table, ready for the docs."""
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def write_figures(figures: dict[str, float], path: Path | None) -> None:
    print(json.dumps(figures, indent=1))
    if path:
        path.write_text(json.dumps(figures, indent=1) + "\n")


def save_sheet(rows: list[Tensor], captions: list[str], title: str, path: Path, cell: int = 96,
               columns: int = 12, headings: list[str] | None = None) -> None:
    """A picture file with rows of pictures (N, H, W, 3), each beside its caption, and `headings` over the columns."""
    from PIL import Image

    from mental_averages.dma.figures import labelled_sheet

    if headings:
        rows, captions = [torch.cat([_heading(text, cell) for text in headings]), *rows], ["", *captions]
        columns = max(columns, len(headings))
    sheet = labelled_sheet(rows, captions, title=title, cell=cell, columns=columns)[0]  # (H, W, 3)
    if headings and not title:
        written = (sheet < 1).flatten(1).any(1).nonzero()[0, 0]
        sheet = sheet[max(0, written - HEADING):]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(path)


def _heading(text: str, cell: int) -> Tensor:
    """A text at the foot of a white picture (1, cell, cell, 3)."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (cell, cell), "white")
    wrapped = "\n".join(textwrap.wrap(text, cell // (HEADING // 2)))
    ImageDraw.Draw(picture).multiline_text((0, cell - 2), wrapped, anchor="ld", fill="#202124",
                                           font=ImageFont.load_default(HEADING))
    return torch.from_numpy(np.asarray(picture).copy()).float()[None] / 255
