"""The plot of how alike samples are, as an image tensor (1, H, W, 3) in [0, 1]."""
from __future__ import annotations

from torch import Tensor

from ..metrics import SamenessReport
from ._lettering import base_font, characters_of, writable
from ._style import drawn, new_figure

COLOUR = "#30638e"
ROW, FRAME = 0.3, 1.1  # height of a prompt's line, and of title and axis, in inches
LETTER = 16  # pixels of width for each letter of a label, which leaves it a third of them


def plot_sameness(report: SamenessReport, *, width: int = 1024) -> Tensor:
    """A dot with its 95 % interval for each prompt, the first on top, as an image (1, H, W, 3) in [0, 1].

    Raises ValueError for a report without prompts.
    """
    if not report.prompts:
        raise ValueError("This report of the sameness of samples has no prompts.")
    count = len(report.prompts)
    figure = new_figure(width, (FRAME + ROW * count) * 100 / width)
    axes = figure.subplots()
    values = [found.sameness for found in report.prompts]
    errors = [[found.sameness - found.low for found in report.prompts],
              [found.high - found.sameness for found in report.prompts]]
    axes.errorbar(values, range(count), xerr=errors, fmt="o", color=COLOUR, markersize=6, capsize=3, elinewidth=1.4)
    axes.set_yticks(range(count), [label_of(found.prompt, width // LETTER) for found in report.prompts],
                    parse_math=False)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlim(min(found.low for found in report.prompts) - 0.05, 1.01)
    axes.set(title="How alike two samples of a prompt are: 1 is the same every time",
             xlabel="mean cosine similarity, with 95 % interval")
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    return drawn(figure)


def label_of(prompt: str, letters: int) -> str:
    """A prompt as a label: on one line, of so many letters at most, and in characters that matplotlib's font has."""
    font = base_font()
    line = " ".join(writable(prompt).split())
    if font is not None:
        line = "".join(letter if letter in characters_of(font) else "□" for letter in line)
    return line if len(line) <= letters else line[: letters - 1].rstrip() + "…"
