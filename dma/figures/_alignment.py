"""The plot of an alignment."""
from __future__ import annotations

import numpy as np
from torch import Tensor

from ..alignment import AlignmentReport
from ._style import drawn, new_figure, note_gradient_error


def plot_alignment(report: AlignmentReport, *, width: int = 1024) -> Tensor:
    """Residuals before and after matching, iterations, spread and norm of the latents, and error of the mean, by
    step, as an image (1, H, W, 3) in [0, 1].

    Raises ValueError for a report without aligned steps.
    """
    if not report.steps:
        raise ValueError("This report of a mental average has no aligned steps.")
    figure = new_figure(width)
    residuals, latents, iterations, errors = figure.subplots(2, 2).flat
    numbers = np.arange(1, len(report.steps) + 1)
    for attribute, colour, label in (("residual_before", "#b0b7c3", "before matching"),
                                     ("residual_after", "#d1495b", "after")):
        values = np.array([getattr(step, attribute) for step in report.steps])  # (A, K)
        low, middle, high = np.quantile(np.maximum(values, 1e-12), (0.05, 0.5, 0.95), axis=1)
        residuals.fill_between(numbers, low, high, color=colour, alpha=0.3, linewidth=0)
        residuals.plot(numbers, middle, "o-", color=colour, label=f"{label} (median, 5-95 %)", markersize=4)
    residuals.set(title="residual  $|H(z_k)-A|^2/|A|^2$", yscale="log")
    residuals.legend(fontsize=8)
    latents.plot(numbers, [step.spread for step in report.steps], "o-", color="#30638e", label="spread around the mean",
                 markersize=4)
    latents.plot(numbers, [step.norm for step in report.steps], "s--", color="#edae49", label="norm", markersize=4)
    latents.axhline(1, color="#999999", linewidth=0.8)
    latents.set(title=r"matched latents, in units of $\sqrt{L}$", ylim=(0, None))
    latents.legend(fontsize=8)
    iterations.bar(numbers, [np.mean(step.iterations) for step in report.steps], color="#00798c")
    iterations.set(title="mean iterations per latent", xlabel="aligned step")
    errors.plot(numbers, [step.mean_error for step in report.steps], "o-", color="#6a4c93", markersize=4)
    errors.set(title="standard error of the mean / its norm", xlabel="aligned step", ylim=(0, None))
    for axes in figure.axes:
        axes.set_xticks(numbers)
    note_gradient_error(figure, report.settings)
    return drawn(figure)
