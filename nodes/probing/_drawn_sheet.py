"""ConceptSheetDrawn: the end of the graph that a concept sheet unfolds into."""
from __future__ import annotations

import json
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...dma import figures, metrics
from ..comfyui import OneCheckpoint
from ..inputs import SHEET_MODELS, TABLE, category, checked
from ._concept_cell import INSIDE

MOST_PIXELS = 2**26  # of all averages together: 0.8 GB in fp32
EMPTY = 0.5  # grey, where there is no average


class ConceptSheetDrawn(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ConceptSheetDrawn", display_name="Concept Sheet: Drawn",
            category=category("inside"), is_dev_only=True,
            accept_all_inputs=True,
            description=f"{INSIDE} Takes all cells, as cell_ROW_COLUMN, measures what changes from column to column "
                        "and draws the sheet.",
            inputs=[
                io.String.Input("words", multiline=True, default="", tooltip="One a line: the rows."),
                io.String.Input("columns", multiline=True, default="", tooltip="One a line: the columns."),
                io.String.Input("attributes", multiline=True, default="",
                                tooltip="One a line: what shares are given of; empty for what was answered."),
                io.String.Input("title", default="", tooltip="The line above the sheet."),
                io.Int.Input("cell", default=192, min=figures.LEAST_CELL, max=1024, step=8,
                             tooltip="As in ConceptSheet."),
                io.String.Input("settings", default="{}", tooltip="What the table says of itself, as JSON."),
                SHEET_MODELS.Input("models", optional=True, tooltip="Where the last checkpoint is let go."),
            ],
            outputs=[
                io.Image.Output("sheet", display_name="sheet", tooltip="As in ConceptSheet."),
                io.Image.Output("averages", display_name="averages", tooltip="As in ConceptSheet."),
                TABLE.Output("table", display_name="table", tooltip="As in ConceptSheet."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, words, columns, attributes, title, cell, settings, models: OneCheckpoint | None = None,
                **cells) -> io.NodeOutput:
        if models is not None:
            models.let_go()
        rows, labels = words.splitlines(), columns.splitlines()
        found = [[cells[cell_name(row, column)] for column in range(len(labels))] for row in range(len(rows))]
        if all(each.problem for line in found for each in line):
            raise ValueError(f"No cell of the sheet could be drawn. {found[0][0].problem}")
        table = metrics.concept_table(rows, labels, found, attributes.splitlines(), json.loads(settings))
        return io.NodeOutput(figures.concept_sheet(rows, labels, found, table, title=title, cell=cell),
                             averages_of(found), table)


def cell_name(row: int, column: int) -> str:
    return f"cell_{row}_{column}"


def averages_of(cells: list[list[Any]]) -> Tensor:
    """All averages, word by word, as large as the smallest of them and all together allow, on grey where one is
    narrower or missing: (N, H, W, 3)."""
    pictures = [each.average for row in cells for each in row]
    known = [each for each in pictures if each is not None]
    widest = max(known, key=lambda picture: picture.shape[1] / picture.shape[0])
    height = min(min(map(len, known)), figures.height_within(MOST_PIXELS, len(pictures), *widest.shape[:2]))
    width = figures.thumbnails(widest[None].float() / 255, height).shape[2]
    found = torch.full((len(pictures), height, width, 3), EMPTY)
    for place, picture in zip(found, pictures):
        if picture is not None:
            small = figures.thumbnails(picture[None].float() / 255, height)[0]
            left = (width - small.shape[1]) // 2
            place[:, left : left + small.shape[1]] = small
    return found
