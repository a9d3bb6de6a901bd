"""The plot of a probe of layers, as an image tensor (1, H, W, 3) in [0, 1]."""
from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from ..hspace import LayerReport
from ._style import drawn, new_figure, note_gradient_error

CHOSEN, CURVE = "#d1495b", "#30638e"
MOST_NAMES = 30


def plot_layers(report: LayerReport, *, width: int = 1024) -> Tensor:
    """Score, separation, dimension and what matching left, over the depth of the network; the chosen layer is
    marked.

    Raises ValueError for a report without layers.
    """
    import matplotlib

    if not report.layers:
        raise ValueError("This report of a layer probe has no layers.")
    figure = new_figure(width, 0.8)
    scores, separation, dimension, left = figure.subplots(2, 2, sharex=True).flat
    layers, sigmas = report.layers, report.settings["sigmas"]
    depth, best = np.arange(len(layers)), [layer.name for layer in layers].index(report.chosen)
    # Null becomes NaN.
    curve, errors = (np.array([getattr(layer, name) for layer in layers], float) for name in ("score", "error"))
    scores.errorbar(depth, curve, errors, fmt="o-", color=CURVE, markersize=4, ecolor="#999999", elinewidth=0.9)
    scores.plot(best, layers[best].score, "o", color=CHOSEN, markersize=11, fillstyle="none", markeredgewidth=2,
                label=report.chosen)
    scores.set(title="score: share of variance the prompt explains among averages")
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(sigmas)))
    for number, (sigma, colour) in enumerate(zip(sigmas, colours)):
        label = rf"$\sigma$ = {sigma:.3g}"
        for axes, attribute in ((separation, "ratio"), (dimension, "dimension"), (left, "left")):
            values = [getattr(layer, attribute) for layer in layers]
            if any(values):
                column = [math.nan if row[number] is None else row[number] for row in values]
                axes.plot(depth, column, "o-", color=colour, markersize=3.5, linewidth=1, label=label)
    separation.set(title="variance between prompts / within one", yscale="asinh")
    dimension.set(title="dimension (participation ratio) within a prompt", yscale="log")
    left.set(title="share of the distance to the mean left after matching", ylim=(0, 1.05))
    for axes in (scores, separation, left):
        axes.axhline(0, color="#cccccc", linewidth=0.8)
    every = -(-len(layers) // MOST_NAMES)  # more names than that cannot be read
    for axes in figure.axes:
        axes.axvline(best, color=CHOSEN, linewidth=0.8, alpha=0.5)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
        else:
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
    for axes in (dimension, left):
        axes.set_xticks(depth[::every], [layer.name for layer in layers][::every], rotation=90)
    note_gradient_error(figure, report.settings)
    return drawn(figure)
