"""What all plots have in common."""
from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

CAUTION = 16  # pixels of height of a line of cautions
LETTER = 6.2  # pixels of width of one of its letters
# Of lines that are told apart by their label.
COLOURS = ("#d1495b", "#30638e", "#edae49", "#00798c", "#6a4c93", "#5b8c5a", "#b0785a", "#7a7f87")

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def note_gradient_error(figure: Figure, settings: dict) -> None:
    """Say at the bottom what the gradient self-test of the model has found, if it was made."""
    if "gradient_error" in settings:
        figure.supxlabel(f"gradient self-test: {settings['gradient_error']:.1e} off the measured slope", fontsize=8,
                         color="#666666")


def cautions_below(cautions: Sequence[str], width: int) -> list[str]:
    """The lines of cautions that `note_cautions` writes below a figure `width` pixels wide."""
    return [line for caution in cautions for line in textwrap.wrap(caution, max(24, int(width / LETTER)))]


def note_cautions(figure: Figure, lines: Sequence[str]) -> None:
    """Say at the bottom what is to be borne in mind of a figure that is higher by `CAUTION` for each line."""
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=8, color="#b3261e", x=0.02, ha="left", parse_math=False)


def new_figure(width: int, ratio: float = 0.62) -> Figure:
    """An empty matplotlib figure `width` pixels wide and `ratio` times as high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 100, width / 100 * ratio), dpi=100, layout="constrained")


def drawn(figure: Figure) -> Tensor:
    """The picture (1, H, W, 3) in [0, 1] of a finished figure, its axes in the house style."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for axes in figure.axes:
        axes.tick_params(labelsize=8)
        axes.title.set_fontsize(10)
        axes.spines[["top", "right"]].set_visible(False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy()).float()[None] / 255
