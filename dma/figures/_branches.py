"""Bands that lead smoothly from one place down to another, as wide as what they carry."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

FINENESS, PARTS = 3, 24  # points for a pixel before they are smoothed, and parts of a curve
THIN = 4.0  # pixels
PALE = 0.55  # of the way from the colour to white


@dataclass(frozen=True)
class Branch:
    """A band of a width from the middle (left, top) down to (right, bottom), in pixels, in a colour (#rrggbb)."""

    left: float
    top: float
    right: float
    bottom: float
    width: float
    colour: str

    def moved(self, down: float) -> Branch:
        return replace(self, top=self.top + down, bottom=self.bottom + down)

    def points(self) -> list[tuple[float, float]]:
        """The middle of the band: a curve that leaves and arrives upright."""
        found = []
        for part in range(PARTS + 1):
            t = part / PARTS
            found.append((self.left + (self.right - self.left) * t * t * (3 - 2 * t),
                          self.top + (self.bottom - self.top) * t))
        return found


def draw_branches(sheet: Any, branches: Sequence[Branch]) -> None:
    """Draw bands on a PIL image, with smooth edges."""
    from PIL import Image, ImageDraw

    if not branches:
        return
    fine = Image.new("RGB", (sheet.width * FINENESS, sheet.height * FINENESS), "white")
    draw = ImageDraw.Draw(fine)
    for branch in branches:
        middle = [(across * FINENESS, down * FINENESS) for across, down in branch.points()]
        half, colour = branch.width * FINENESS / 2, _paler(branch.colour)
        draw.polygon([*((across - half, down) for across, down in middle),
                      *((across + half, down) for across, down in reversed(middle))], fill=colour)
        # Where it leads far aside a band measured across the page would be too thin to be seen.
        draw.line(middle, fill=colour, width=max(1, round(min(branch.width, THIN) * FINENESS)), joint="curve")
    sheet.paste(fine.resize(sheet.size, Image.Resampling.BOX))


def _paler(colour: str) -> tuple[int, ...]:
    return tuple(round(value + PALE * (255 - value)) for value in bytes.fromhex(colour[1:]))
