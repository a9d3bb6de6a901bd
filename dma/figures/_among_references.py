"""Scores beside those of references, on axes: a histogram, the threshold, and a mark for each score."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ._style import COLOURS

FEWEST_BINS, MOST_BINS = 8, 40
MOST_NUMBERED = 24
NEARLY = 1e-4  # as a share of them, how far scores may be apart that stand at one place: labels have six digits
LOWEST = 220  # pixels of height, which title and axis need

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Judged(Protocol):
    """Scores with their flags, those of references, and the threshold."""

    @property
    def scores(self) -> Sequence[float]: ...
    @property
    def flagged(self) -> Sequence[bool]: ...
    @property
    def references(self) -> Sequence[float]: ...
    @property
    def threshold(self) -> float: ...


def lowest_ratio(width: int, ratio: float) -> float:
    """The height over the width of a figure in which such axes have room."""
    return max(ratio, LOWEST / width)


def show_among_references(axes: Axes, report: Judged, *, rate: float, what: str) -> None:
    """A histogram of the references' scores, the threshold of a false positive `rate`, and a mark with its number, from
    1, for each of `what` is judged, flagged ones in another colour. The axis is logarithmic, and scores of 0 stand at
    its lower end; where there are negative scores, or none but 0, it is linear."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    scores, references = np.array(report.scores), np.array(report.references)
    lowest, highest, logarithmic = _limits([*report.scores, *report.references, report.threshold])
    bins = int(np.clip(np.sqrt(len(references)) * 2, FEWEST_BINS, MOST_BINS))
    between = (np.geomspace if logarithmic else np.linspace)(lowest, highest, bins + 1)[1:-1]
    edges = [lowest, *between.tolist(), highest]
    counts, _, _ = axes.hist(np.clip(references, lowest, highest), edges, color="#c9d3dc", edgecolor="white",
                             label=f"{len(references)} references")
    top = float(np.max(counts))
    axes.axvline(max(report.threshold, lowest), color=COLOURS[2], linestyle="--", linewidth=1.4,
                 label=f"flagged above this (at most {rate:.1%} by chance)")
    kept = len(report.flagged) - sum(report.flagged)
    others = f"{what.removesuffix('s') if kept == 1 else what}, {'not' if any(report.flagged) else 'none'} flagged"
    for flag, colour, label in ((False, COLOURS[1], others), (True, COLOURS[0], "flagged")):
        rows = [row for row, each in enumerate(report.flagged) if each == flag]
        if not rows:
            continue
        # In several lines, so that those of nearly one score can be told apart.
        heights = [top * (1.1 + 0.08 * (row % 4)) for row in rows]
        axes.scatter(np.clip(scores[rows], lowest, highest), heights, marker="v", s=36, color=colour,
                     label=f"{len(rows)} {label}")
        if len(scores) <= MOST_NUMBERED:
            for row, height in zip(rows, heights):
                axes.annotate(str(row + 1), (max(scores[row], lowest), height), textcoords="offset points",
                              xytext=(6, -3), fontsize=8, color=colour, in_layout=False)
    if logarithmic:
        axes.set_xscale("log")
        # Plain numbers, as tables have them; where there are not two powers of ten, also between these.
        powers = np.floor(np.log10(highest)) - np.ceil(np.log10(lowest)) + 1
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}" if powers < 2 else NullFormatter())
        if powers == 1 and highest > 10 * lowest:
            axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))  # all would stand in each other's way
    axes.set_ylim(0, top * 1.85)
    # Counts are whole, and above the largest there are marks, whose height means nothing.
    axes.set_yticks([tick for tick in MaxNLocator(5, integer=True).tick_values(0, top) if 0 <= tick <= top])
    axes.legend(fontsize=8, frameon=False, loc="upper left").set_in_layout(False)  # in a narrow picture it has no room


def _limits(values: Sequence[float]) -> tuple[float, float, bool]:
    """The ends of an axis for these numbers, and whether it is logarithmic."""
    if not any(values):
        return -0.5, 0.5, False
    linear = min(values) < 0
    shown = values if linear else [value for value in values if value > 0]
    lowest, highest = min(shown), max(shown)
    if highest - lowest > NEARLY * max(abs(lowest), abs(highest)):
        return lowest, highest, not linear
    # Between numbers that are the same but for rounding there is no room for edges of bins, one above the other.
    return (lowest * 1.5, highest * 0.5, False) if linear else (lowest / 2, highest * 2, True)
