"""The plot of an interpolation, as an image tensor (1, H, W, 3) in [0, 1]."""
from __future__ import annotations

import numpy as np
from torch import Tensor

from ..interpolation import InterpolationReport
from ._style import COLOURS, drawn, new_figure


def plot_interpolation(report: InterpolationReport, *, width: int = 1024) -> Tensor:
    """Weights, norms, amplification and channel means of an interpolation.

    Raises ValueError for a report without outputs.
    """
    if not report.weights:
        raise ValueError("This report of an interpolation has no outputs.")
    figure = new_figure(width)
    weights_axes, norms, amplification, means = figure.subplots(2, 2).flat
    weights = np.array(report.weights)  # (M, N)
    rows = np.arange(1, len(weights) + 1)
    image = weights_axes.imshow(weights, aspect="auto", cmap="Blues", vmin=0, interpolation="nearest",
                                extent=(0.5, weights.shape[1] + 0.5, len(weights) + 0.5, 0.5))
    figure.colorbar(image, ax=weights_axes)
    weights_axes.set(title="weights", xlabel="input", ylabel="output")
    norms.axhspan(min(report.input_norms), max(report.input_norms), color="#b0b7c3", alpha=0.4,
                  label="range of the inputs")
    norms.plot(rows, report.output_norms, "o-", color=COLOURS[0], markersize=4, label="outputs")
    norms.axhline(1, color="#999999", linewidth=0.8)
    norms.set(title=r"norm, in units of $\sqrt{L}$", xlabel="output", ylim=(0, None))
    amplification.plot(rows, report.amplification, "o-", color=COLOURS[3], markersize=4, label=r"$\alpha$")
    amplification.plot(rows, np.sqrt(report.effective_inputs), "--", color="#999999", label=r"$1/\sqrt{\Sigma w^2}$")
    amplification.set(title="amplification of the noise part", xlabel="output", ylim=(0, None))
    for channel, values in list(enumerate(np.array(report.output_means).T))[: len(COLOURS)]:
        means.plot(rows, values, "o-", color=COLOURS[channel], markersize=3, label=f"channel {channel}")
    means.axhline(0, color="#999999", linewidth=0.8)
    means.set(title="channel means of the outputs", xlabel="output")
    for axes in (norms, amplification, means):
        axes.legend(fontsize=7)
    for axis in (weights_axes.xaxis, weights_axes.yaxis, norms.xaxis, amplification.xaxis, means.xaxis):
        axis.get_major_locator().set_params(integer=True)
    settings = report.settings
    low_pass = f" of width {settings['low_pass_width']:g}" if settings["low_pass_width"] is not None else ""
    figure.suptitle(f"{settings['method']}, mean adjustment {settings['mean_adjustment']}{low_pass}", fontsize=11)
    return drawn(figure)
