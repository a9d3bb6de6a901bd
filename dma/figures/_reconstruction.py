"""The plot of a reconstruction from a representation."""
from __future__ import annotations

import numpy as np
from torch import Tensor

from ..representation import ReconstructionReport
from ._style import drawn, new_figure


def plot_reconstruction(report: ReconstructionReport, *, width: int = 1024) -> Tensor:
    """Distances before and after matching, iterations and spread by noise level, and how far the finished pictures and
    the representations that the target is made of are from it, as an image (1, H, W, 3) in [0, 1].

    Raises ValueError for a report without noise levels.
    """
    if not report.levels:
        raise ValueError("This report of a reconstruction has no noise levels.")
    figure = new_figure(width)
    distances, iterations, spread, reached = figure.subplots(2, 2).flat
    numbers = np.arange(1, len(report.levels) + 1)
    for attribute, colour, label in (("residual_before", "#b0b7c3", "before matching"),
                                     ("residual_after", "#d1495b", "after")):
        values = np.sqrt(np.maximum([getattr(level, attribute) for level in report.levels], 1e-12))  # (L, K)
        low, middle, high = np.quantile(values, (0.05, 0.5, 0.95), axis=1)
        distances.fill_between(numbers, low, high, color=colour, alpha=0.3, linewidth=0)
        distances.plot(numbers, middle, "o-", color=colour, label=f"{label} (median, 5-95 %)", markersize=4)
    distances.set(title="distance  $|H(x_k)-A|/|A|$", yscale="log")
    distances.legend(fontsize=8)
    iterations.bar(numbers, [np.mean(level.iterations) for level in report.levels], color="#00798c")
    iterations.set(title="mean iterations per latent")
    spread.plot(numbers, [level.spread for level in report.levels], "o-", color="#30638e", markersize=4)
    spread.set(title="spread of the clean latents", ylim=(0, None))
    for axes in (distances, iterations, spread):
        shown = numbers[:: max(1, len(numbers) // 8)]
        axes.set_xticks(shown, [f"{report.levels[number - 1].sigma:.3g}" for number in shown])
    spread.set_xlabel(r"noise level $\sigma$")
    for row, (values, label) in enumerate(((report.distances, "finished pictures"), (report.sources, "sources"))):
        reached.scatter(values, np.full(len(values), row), s=28, alpha=0.6, color=("#d1495b", "#30638e")[row])
        reached.annotate(label, (0, row), xytext=(4, 14), textcoords="offset points", fontsize=8)
    reached.set(title="distance from the target, all levels", yticks=[], ylim=(-0.6, 1.8), xlim=(0, None))
    return drawn(figure)
