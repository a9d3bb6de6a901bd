"""What a benchmark hands over: tables for the docs, figures as JSON, sheets of pictures."""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor


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
               columns: int = 12, headings: Sequence[str] = ()) -> None:
    """A picture file with rows of pictures (N, H, W, 3), each beside its caption, and `headings` over the columns."""
    from PIL import Image

    from mental_averages.dma.figures import labelled_sheet

    columns = max(columns, len(headings))
    sheet = labelled_sheet(rows, captions, title=title, cell=cell, columns=columns, headings=headings)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(path)
