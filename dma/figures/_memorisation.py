"""The plot of how much pictures are like memorised ones, as an image tensor (1, H, W, 3) in [0, 1]."""
from __future__ import annotations

from torch import Tensor

from ..representation import DEVIATION, FIT, GUIDANCE, NORM, SPIKINESS, MemorisationReport
from ._among_references import lowest_ratio, show_among_references
from ._style import CAUTION, cautions_below, drawn, new_figure, note_cautions

MEANINGS = {DEVIATION: "standard deviation of features over channels", NORM: "norm of features over channels",
            SPIKINESS: "4-norm over 2-norm of features", GUIDANCE: "how much the prompt changes the prediction",
            FIT: "minus the loss on the picture"}


def plot_memorisation(report: MemorisationReport, *, width: int = 1024) -> Tensor:
    """For the score that the flag goes by, and below it for each of the others: a histogram of the references, the
    threshold, and a mark with its number for each picture, flagged ones in another colour, as an image (1, H, W, 3) in
    [0, 1]; at the bottom the cautions of the report.

    Raises ValueError for a report without pictures or references.
    """
    if not (report.scores and report.chosen.scores and report.chosen.references):
        raise ValueError("This report of memorisation has no pictures or no references.")
    kinds = report.scores
    below = cautions_below(report.cautions, width)
    figure = new_figure(width, len(kinds) * lowest_ratio(width, 0.34 if len(kinds) > 1 else 0.5)
                        + len(below) * CAUTION / width)
    for number, (kind, axes) in enumerate(zip(kinds, figure.subplots(len(kinds), squeeze=False).flat)):
        show_among_references(axes, kind, rate=report.settings.get("false_positive_rate", 0), what="pictures")
        axes.set(title=f"{kind.name}, which the flag goes by" if not number else kind.name,
                 xlabel=MEANINGS.get(kind.name, kind.name), ylabel="references")
    note_cautions(figure, below)
    return drawn(figure)
