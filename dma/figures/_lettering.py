"""Text on pictures, each character in a font that has it."""
from __future__ import annotations

import functools
import itertools
import logging
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

# Parts of the names of fonts that are looked at first, for Chinese, Japanese and Korean, and for symbols.
PREFERRED = ("notosanscjk", "sourcehansans", "msyh", "yugoth", "malgun", "pingfang", "hiragino", "applesdgothic", "wqy",
             "droidsansfallback", "arialunicode", "notosans", "seguisym", "symbola", "unifont")
PLACEHOLDERS = "lastresort"  # a font that has a box for every character
VARIATIONS = range(0xFE00, 0xFE10)  # say how the character before them is to look
COLOUR = "#202124"


class Lettering:
    """Letters of one size in pixels, measured and drawn: DejaVu Sans, and fonts of the system for what it has not."""

    def __init__(self, size: int):
        self.size = size
        self.fonts: dict[str | None, Any] = {}
        self.ascent, descent = self.font(base_font()).getmetrics()
        self.height = self.ascent + descent  # of a line

    def font(self, path: str | None) -> Any:
        from PIL import ImageFont

        if path not in self.fonts:
            self.fonts[path] = (ImageFont.load_default(self.size) if path is None
                                else ImageFont.truetype(path, self.size))
        return self.fonts[path]

    def width(self, line: str) -> float:
        return sum(self.font(path).getlength(part) for path, part in runs(line))

    def draw(self, draw: ImageDraw, left: float, top: float, lines: list[str], *, colour: str = COLOUR) -> None:
        for index, line in enumerate(lines):
            across = left
            for path, part in runs(line):
                draw.text((across, top + index * self.height + self.ascent), part, fill=colour, font=self.font(path),
                          anchor="ls")
                across += self.font(path).getlength(part)

    def wrapped(self, text: str, width: float) -> list[str]:
        """The lines of a text, each no wider than `width`: broken between words, and within those that are wider."""
        lines: list[str] = []
        for paragraph in text.splitlines():
            line = ""
            for word in itertools.chain.from_iterable(self.broken(whole, width) for whole in paragraph.split()):
                longer = f"{line} {word}".strip()
                if line and self.width(longer) > width:
                    lines.append(line)
                    line = word
                else:
                    line = longer
            lines.append(line)
        return lines

    def broken(self, word: str, width: float) -> list[str]:
        """A word in parts that are no wider than `width`, of one character at least."""
        if self.width(word) <= width:
            return [word]
        widths, parts, taken = {character: self.width(character) for character in set(word)}, [""], 0.0
        for character in word:
            if parts[-1] and taken + widths[character] > width:
                parts.append("")
                taken = 0.0
            parts[-1] += character
            taken += widths[character]
        return parts


def writable(text: str) -> str:
    """A text as it can be drawn: composed characters, symbols that no font has by their names, nothing invisible.

    Letters that no font has are drawn as boxes, and logged.
    """
    found: list[str] = []
    missing: set[str] = set()
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        if character == "\n" or (category[0] not in "CZ" and ord(character) not in VARIATIONS
                                 and font_of(character) is not None):
            found.append(character)
        elif category[0] == "Z" or category == "Cc":
            found.append(" ")
        elif category == "So":
            found.append(f"[{unicodedata.name(character, 'symbol').lower()}]")
        elif category != "Cf" and ord(character) not in VARIATIONS:
            missing.add(character)
            found.append(character)
    if missing and base_font() is not None:
        logging.warning("No font of this system has %s: install one that does, such as Noto Sans CJK for Chinese, "
                        "Japanese and Korean.", " ".join(sorted(missing)))
    return "".join(found)


def runs(line: str) -> list[tuple[str | None, str]]:
    """The parts of a line that are drawn in one font each, with its path."""
    return [(path, "".join(part))
            for path, part in itertools.groupby(line, lambda character: font_of(character) or base_font())]


@functools.cache
def base_font() -> str | None:
    """The path of DejaVu Sans, which comes with matplotlib; None where that is missing, for Pillow's own font."""
    try:
        import matplotlib
    except ImportError:
        return None
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


@functools.lru_cache(maxsize=10_000)
def font_of(character: str) -> str | None:
    """The path of the first font that has a character, DejaVu Sans before those of the system; None if none has it."""
    base = base_font()
    if base is None:
        return None
    for path in itertools.chain([base], system_fonts()) if character not in characters_of(base) else [base]:
        if character in characters_of(path) and is_scalable(path):
            return path
    return None


@functools.cache
def characters_of(path: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()  # not a font that can be read


@functools.cache
def is_scalable(path: str) -> bool:
    """Whether letters of any size can be drawn; fonts of coloured pictures have them in one."""
    from PIL import ImageFont

    try:
        ImageFont.truetype(path, 20)
    except OSError:
        return False
    return True


@functools.cache
def system_fonts() -> tuple[str, ...]:
    """The paths of the fonts of this system, those first that are likely to have what DejaVu Sans has not."""
    from matplotlib import font_manager

    def rank(path: str) -> tuple[int, str]:
        name = Path(path).name.lower().replace("-", "").replace(" ", "")
        return next((index for index, part in enumerate(PREFERRED) if part in name), len(PREFERRED)), path

    return tuple(sorted((path for path in map(str, font_manager.findSystemFonts())
                         if PLACEHOLDERS not in path.lower()), key=rank))
