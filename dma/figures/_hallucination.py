"""The plot of how unusual samples are in their last steps, as an image tensor (1, H, W, 3) in [0, 1]."""
from __future__ import annotations

from torch import Tensor

from ..metrics import HallucinationReport
from ._among_references import lowest_ratio, show_among_references
from ._style import CAUTION, cautions_below, drawn, new_figure, note_cautions


def plot_hallucination(report: HallucinationReport, *, width: int = 1024) -> Tensor:
    """A histogram of the references' scores, the threshold, and a mark with its number for each sample, flagged ones in
    another colour, as an image (1, H, W, 3) in [0, 1]; below it the cautions of the report.

    On a logarithmic axis; scores of 0 stand at its lower end. Raises ValueError for a report without samples or
    references.
    """
    if not (report.scores and report.references):
        raise ValueError("This report of the last steps of samples has no samples or no references.")
    below = cautions_below(report.cautions, width)
    figure = new_figure(width, lowest_ratio(width, 0.5) + len(below) * CAUTION / width)
    axes = figure.subplots()
    show_among_references(axes, report, rate=report.settings.get("false_positive_rate", 0), what="samples")
    axes.set(title="How much the predicted picture still moves in the last steps",
             xlabel="variance of the predicted clean latent", ylabel="references")
    note_cautions(figure, below)
    return drawn(figure)
