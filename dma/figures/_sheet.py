"""Sheets of pictures with captions."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._lettering import Lettering, writable

MARGIN = 10
CAPTION_WIDTH, LEAST_TITLE_WIDTH = 2, 8  # in heights of a picture
MOST_PIXELS = 2**27  # 1.6 GB in fp32


def labelled_sheet(rows: list[Tensor], captions: list[str], *, title: str = "", cell: int = 192, columns: int = 8,
                   headings: Sequence[str] = ()) -> Tensor:
    """Batches of pictures (N, H, W, C) in rows, each with its caption to the left; missing captions stay empty.

    `headings` stand over the columns, which are as wide as the first row's pictures.

    C is 1 for grey pictures or 3; what follows a third channel is left out. Every picture is scaled to `cell` pixels
    height. Rows longer than `columns` are cut, and the caption says so. Captions and title are wrapped, also within
    words that are too long. Returns (1, H, W, 3) in [0, 1].

    Raises ValueError if there are no rows, for rows that are no pictures or hold none, if `cell` or `columns` is not
    positive, and for a sheet of more than 2^27 pixels.
    """
    from PIL import Image, ImageDraw

    _check(rows, cell, columns)
    small, large = _letters(cell), Lettering(max(14, cell // 6))
    captions = [*captions, *[""] * len(rows)][: len(rows)]
    captions = captions_of_cut(captions, map(len, rows), columns)
    lines = [small.wrapped(writable(caption), CAPTION_WIDTH * cell) for caption in captions]
    caption_width = max((int(small.width(line)) for block in lines for line in block), default=0)
    left = MARGIN + (caption_width + MARGIN if caption_width else 0)
    heights = [max(cell, len(block) * small.height) for block in lines]
    pictures_width = max(min(len(row), columns) * (_width(row, cell) + MARGIN) for row in rows)
    title_lines = large.wrapped(writable(title), max(left + pictures_width - 2 * MARGIN, LEAST_TITLE_WIDTH * cell))
    title_width = int(max(map(large.width, title_lines), default=0)) + 2 * MARGIN
    title_height = len(title_lines) * large.height + MARGIN if title_lines else 0
    across = _width(rows[0], cell)
    headed = [small.wrapped(writable(heading), across) for heading in headings[:columns]]
    heading_height = max(map(len, headed), default=0) * small.height
    size = (max(left + pictures_width, title_width),
            title_height + MARGIN + heading_height + sum(heights) + len(rows) * MARGIN)
    if size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"The sheet would be {size[0]} x {size[1]} pixels, which takes too much memory: choose a "
                         "smaller cell, or fewer columns or rows.")
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    large.draw(draw, MARGIN, MARGIN, title_lines)
    top = title_height + MARGIN + heading_height
    for index, block in enumerate(headed):
        for line, text in enumerate(block):
            place = left + index * (across + MARGIN) + (across - small.width(text)) / 2
            small.draw(draw, place, top - (len(block) - line) * small.height, [text])
    for row, block, height in zip(rows, lines, heights):
        small.draw(draw, MARGIN, top + (height - len(block) * small.height) / 2, block)
        for index, picture in enumerate(row[:columns]):
            place = left + index * (_width(row, cell) + MARGIN), top + (height - cell) // 2
            sheet.paste(scaled(picture, cell), place)
        top += height + MARGIN
    return torch.from_numpy(np.asarray(sheet).copy()).float()[None] / 255


def captions_of_cut(captions: Iterable[str], counts: Iterable[int], columns: int) -> list[str]:
    """Captions of rows of so many pictures, which say where no more than `columns` of them are shown.

    >>> captions_of_cut(["few", "many", ""], [2, 9, 4], 3)
    ['few', 'many\\n(3 of 9)', '(3 of 4)']
    """
    return [f"{caption}\n({columns} of {count})".strip() if count > columns else caption
            for caption, count in zip(captions, counts)]


def cell_within(rows: list[Tensor], columns: int, cell: int) -> int:
    """The height of a picture, at most `cell`, at which a `labelled_sheet` of rows without a title has no more than
    2^27 pixels, with captions of up to eight lines.

    >>> cell_within([torch.ones(12, 9, 16, 3)] * 8, 12, 96), cell_within([torch.ones(12, 9, 16, 3)] * 8, 12, 1024)
    (96, 722)
    """
    def pixels(cell: int) -> int:
        width = max(min(len(row), columns) * (_width(row, cell) + MARGIN) for row in rows)
        height = max(cell, 8 * _letters(cell).height)
        return (CAPTION_WIDTH * cell + width + 2 * MARGIN) * (len(rows) * (height + MARGIN) + MARGIN)

    while cell > 1 and pixels(cell) > MOST_PIXELS:
        cell -= max(1, cell // 100)
    return cell


def ranked_sheet(images: Tensor, captions: list[str], *, title: str = "", cell: int = 192, rows: int = 4) -> Tensor:
    """Pictures (N, H, W, C) one below the other, each with its caption to the left, in columns of `rows` pictures.

    Returns (1, H, W, 3) in [0, 1]. Raises ValueError where `labelled_sheet` does.
    """
    starts = range(0, len(images), rows)
    columns = [labelled_sheet(list(images[start : start + rows].split(1)), captions[start : start + rows],
                              # A blank title takes as much room, so that the rows of all columns are level.
                              title=(title if start == 0 else " ") if title else "", cell=cell)
               for start in starts]
    if not columns:
        raise ValueError("The sheet has no pictures.")
    height = max(column.shape[1] for column in columns)
    return torch.cat([torch.nn.functional.pad(column, (0, 0, 0, 0, 0, height - column.shape[1]), value=1.0)
                      for column in columns], dim=2)


def _letters(cell: int) -> Lettering:
    """Those of captions beside pictures of a height."""
    return Lettering(max(12, cell // 7))


def _check(rows: list[Tensor], cell: int, columns: int) -> None:
    if not rows:
        raise ValueError("The sheet has no pictures.")
    if cell < 1 or columns < 1:
        raise ValueError(f"cell is {cell} and columns {columns}: both have to be 1 or more.")
    for number, row in enumerate(rows, start=1):
        if row.ndim != 4 or row.shape[-1] == 2 or 0 in row.shape:
            raise ValueError(f"Pictures have the shape (N, H, W, 3), or 1 for grey ones, with N at least 1, but row "
                             f"{number} is {tuple(row.shape)}.")


def _width(row: Tensor, height: int) -> int:
    """The width of the pictures (N, H, W, C) of a row at a height."""
    return width_at(height, *row.shape[1:3])


def width_at(height: int, own_height: int, own_width: int) -> int:
    """The width of a picture that is scaled to a height."""
    return max(1, round(own_width * height / own_height))


def scaled(image: Tensor, height: int) -> Any:
    """A picture (H, W, C) as PIL image of a height; small ones are enlarged smoothly."""
    from PIL import Image

    pixels = (image.float().clamp(0, 1) * 255).round().byte().cpu().expand(-1, -1, max(3, image.shape[-1]))
    return Image.fromarray(pixels[..., :3].contiguous().numpy()).resize((_width(image[None], height), height),
                                                                       Image.Resampling.LANCZOS)
