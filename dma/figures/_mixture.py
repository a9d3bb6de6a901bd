"""The plot of an alignment of modes."""
from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from ..alignment import MixtureReport
from ._style import drawn, new_figure, note_gradient_error


def plot_mixture(report: MixtureReport, *, width: int = 1024) -> Tensor:
    """Distances of averages to modes, residuals of each mode, and BIC, as an image (1, H, W, 3) in [0, 1].

    Raises ValueError for a report without modes.
    """
    if not report.modes:
        raise ValueError("This report of the averages of modes has no modes.")
    figure = new_figure(width, 0.34)
    distances, residuals, bic = figure.subplots(1, 3)
    count = len(report.modes)
    values = np.array([record.distances for record in report.modes])  # (C, C)
    distances.imshow(values, cmap="Blues_r", vmin=0)
    if count <= 8:
        for row, column in np.ndindex(values.shape):
            dark = values[row, column] < 0.5 * values.max()
            distances.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", fontsize=8,
                           color="white" if dark else "black",
                           weight="bold" if report.modes[row].nearest == column else "normal")
    distances.set(title=f"distance: {report.in_own_mode} of {count} in their own mode", xlabel="samples of mode",
                  ylabel="average of mode", xticks=range(count), yticks=range(count))
    for mode, record in enumerate(report.modes):
        means = [max(1e-12, math.fsum(step.residual_after) / len(step.residual_after)) for step in record.steps]
        residuals.plot(range(1, len(means) + 1), means, "o-", markersize=3,
                       label=f"mode {mode}: {record.count} samples")
    residuals.set(title="mean residual after matching", xlabel="aligned step", yscale="log")
    residuals.legend(fontsize=7)
    components, criterion = zip(*report.bic)
    bic.plot(components, criterion, "o-", color="#30638e", markersize=4)
    bic.set(title="BIC by number of components", xlabel="components", xticks=components)
    note_gradient_error(figure, report.settings)
    return drawn(figure)
