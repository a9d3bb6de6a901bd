"""Sheets of pictures with captions."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

MARGIN = 10


def labelled_sheet(rows: list[Tensor], captions: list[str], *, title: str = "", cell: int = 192,
                   columns: int = 8) -> Tensor:
    """Batches of pictures (N, H, W, 3) in rows, each with its caption to the left; missing captions stay empty.

    Every picture is scaled to `cell` pixels height. Rows longer than `columns` are cut, and the caption says so.
    Returns (1, H, W, 3) in [0, 1]. Raises ValueError if there are no rows.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not rows:
        raise ValueError("The sheet has no pictures.")
    font = ImageFont.load_default(max(11, cell // 11))
    heading = ImageFont.load_default(max(13, cell // 8))
    captions = [*captions, *[""] * len(rows)][: len(rows)]
    captions = [f"{caption}\n({columns} of {len(row)})".strip() if len(row) > columns else caption
                for caption, row in zip(captions, rows)]
    pictures = [[_scaled(image, cell) for image in row[:columns]] for row in rows]
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    captions = [_wrapped(caption, measure, font, 2 * cell) for caption in captions]
    caption_width = max(int(measure.multiline_textbbox((0, 0), caption, font=font)[2]) for caption in captions)
    title_height = 0 if not title else int(measure.textbbox((0, 0), title, font=heading)[3]) + 2 * MARGIN
    left = MARGIN + (caption_width + MARGIN if caption_width else 0)
    row_widths = [sum(picture.width + MARGIN for picture in row) for row in pictures]
    title_width = int(measure.textlength(title, font=heading)) + 2 * MARGIN
    sheet = Image.new("RGB", (max(left + max(row_widths), title_width),
                              title_height + MARGIN + len(rows) * (cell + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((MARGIN, MARGIN), title, fill="#202124", font=heading)
    for index, (row, caption) in enumerate(zip(pictures, captions)):
        top = title_height + MARGIN + index * (cell + MARGIN)
        draw.multiline_text((MARGIN, top + cell / 2), caption, fill="#202124", font=font, anchor="lm")
        across = left
        for picture in row:
            sheet.paste(picture, (across, top))
            across += picture.width + MARGIN
    return torch.from_numpy(np.asarray(sheet).copy()).float()[None] / 255


def _scaled(image: Tensor, height: int):
    """A picture (H, W, 3) as PIL image of a height; small ones are enlarged smoothly."""
    from PIL import Image

    pixels = (image.float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return Image.fromarray(pixels[..., :3]).resize((width, height), Image.Resampling.LANCZOS)


def _wrapped(text: str, measure: ImageDraw, font: Any, width: float) -> str:
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and measure.textlength(longer, font=font) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return "\n".join(lines)
