"""The plot of how unusual samples are in their last steps, as an image tensor (1, H, W, 3) in [0, 1]."""
from __future__ import annotations

import numpy as np
from torch import Tensor

from ..metrics import HallucinationReport
from ._style import COLOURS, drawn, new_figure

FEWEST_BINS, MOST_BINS = 8, 40
MOST_NUMBERED = 24
LOWEST = 220  # pixels of height, which title and axis need


def plot_hallucination(report: HallucinationReport, *, width: int = 1024) -> Tensor:
    """A histogram of the references' scores, the threshold, and a mark with its number for each sample, flagged ones in
    another colour, as an image (1, H, W, 3) in [0, 1].

    On a logarithmic axis; scores of 0 stand at its lower end. Raises ValueError for a report without samples or
    references.
    """
    if not (report.scores and report.references):
        raise ValueError("This report of the last steps of samples has no samples or no references.")
    scores, references = np.array(report.scores), np.array(report.references)
    positive = [value for value in (*report.scores, *report.references, report.threshold) if value > 0] or [1.0]
    lowest, highest = min(positive), max(positive)
    if lowest == highest:
        lowest, highest = lowest / 2, highest * 2
    bins = int(np.clip(np.sqrt(len(references)) * 2, FEWEST_BINS, MOST_BINS))
    edges = [lowest, *np.geomspace(lowest, highest, bins + 1)[1:-1].tolist(), highest]
    figure = new_figure(width, max(0.5, LOWEST / width))
    axes = figure.subplots()
    counts, _, _ = axes.hist(np.clip(references, lowest, highest), edges, color="#c9d3dc", edgecolor="white",
                             label=f"{len(references)} references")
    top = float(np.max(counts))
    axes.axvline(max(report.threshold, lowest), color=COLOURS[2], linestyle="--", linewidth=1.4,
                 label=f"threshold: {report.settings.get('false_positive_rate', 0):.1%} of samples like these at most")
    for flag, colour, label in ((False, COLOURS[1], "samples"), (True, COLOURS[0], "flagged")):
        rows = [row for row, each in enumerate(report.flagged) if each == flag]
        if not rows:
            continue
        # In several lines, so that those of nearly one score can be told apart.
        heights = [top * (1.1 + 0.08 * (row % 4)) for row in rows]
        axes.scatter(np.clip(scores[rows], lowest, highest), heights, marker="v", s=36, color=colour,
                     label=f"{len(rows)} {label}")
        if len(scores) <= MOST_NUMBERED:
            for row, height in zip(rows, heights):
                axes.annotate(str(row), (max(scores[row], lowest), height), textcoords="offset points", xytext=(6, -3),
                              fontsize=8, color=colour, in_layout=False)
    axes.set_xscale("log")
    axes.set_ylim(0, top * 1.85)
    axes.set(title="How much the predicted picture still moves in the last steps",
             xlabel="variance of the predicted clean latent", ylabel="references")
    axes.legend(fontsize=8, frameon=False, loc="upper left").set_in_layout(False)  # in a narrow picture it has no room
    return drawn(figure)
