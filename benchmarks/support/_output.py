"""What a benchmark hands over: tables for the docs, figures as JSON, sheets of pictures."""
from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """A Markdown table, ready for the docs."""
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def print_each(title: str, measures: Sequence[str], found: Mapping[str, Mapping[Any, Sequence[float]]],
               names: Mapping[Any, str] | None = None) -> None:
    """What stands behind a table of means: a row for each way of each concept, `found[concept][way]`, in the order of
    the measures; a way is called `names[way]`, or as it is."""
    print("\nEach concept by itself:\n")
    print_table(["concept", title, *measures],
                [[concept, (names or {}).get(way, str(way)),
                  *("" if math.isnan(value) else f"{value:.3f}" for value in values)]
                 for concept, ways in found.items() for way, values in ways.items()])


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
