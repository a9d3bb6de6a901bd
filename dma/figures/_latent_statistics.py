"""The plot of latent statistics, as an image tensor (1, H, W, 3) in [0, 1]."""
from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from ..interpolation import LatentStatisticsReport
from ._style import COLOURS, drawn, new_figure


def plot_latent_statistics(statistics: LatentStatisticsReport, *, width: int = 1024) -> Tensor:
    """Channel means of centroids against N with the square root law, amplification, channel means and norms.

    Raises ValueError for a report of no latents.
    """
    if not statistics.norms:
        raise ValueError("This report of latent statistics has no latents.")
    figure = new_figure(width)
    growth, amplification, means, norms = figure.subplots(2, 2).flat
    counts, averaged = np.array(statistics.counts), np.array(statistics.centroid_means)  # (counts,), (counts, C)
    deviations, biases = np.array(statistics.centroid_deviations), np.array(statistics.channel_means)
    fine = np.linspace(1, counts[-1], 200)
    # The channels that are biased most say most; more lines than colours would not be told apart.
    for colour, channel in zip(COLOURS, sorted(np.argsort(-np.abs(biases))[: len(COLOURS)])):
        growth.errorbar(counts, averaged[:, channel], deviations[:, channel], fmt="o", color=colour, markersize=4,
                        linewidth=0.8, label=f"channel {channel}")
        growth.plot(fine, statistics.square_root_slopes[channel] * np.sqrt(fine), "--", color=colour, linewidth=0.9)
    fit = "" if statistics.square_root_fit is None else f", $R^2$ = {statistics.square_root_fit:.2f}"
    growth.set(title=r"channel means of fix centroids, law $b\sqrt{N}$" + fit)
    amplification.plot(counts, statistics.centroid_amplification, "o", color=COLOURS[0], markersize=4, label="measured")
    amplification.plot(fine, np.sqrt(fine), "--", color="#999999", label=r"independent noise: $\sqrt{N}$")
    if statistics.common_energy is not None and statistics.common_energy > 0:
        energy = np.mean(np.square(statistics.norms)) - statistics.common_energy
        amplification.plot(fine, 1 / np.sqrt(statistics.common_energy + energy / fine), color=COLOURS[1], linewidth=0.9,
                           label="with the common part that was found")
    amplification.set(title=r"amplification $\alpha$ of fix")
    for axes in (growth, amplification):
        axes.set_xscale("function", functions=(lambda n: np.sqrt(np.maximum(n, 0)), np.square))
        axes.set_xticks(counts, counts)
        axes.set_xlabel("N, on a square root scale")
        axes.legend(fontsize=7)
    errors = [math.nan if error is None else 2 * error for error in statistics.standard_errors]
    means.bar(np.arange(len(biases)), biases, yerr=errors, color=COLOURS[1], ecolor="#202124",
              error_kw={"linewidth": 0.8})
    means.axhline(0, color="#999999", linewidth=0.8)
    means.set(title="channel means of the latents, $\\pm$ 2 standard errors", xlabel="channel")
    means.xaxis.get_major_locator().set_params(integer=True)
    norms.hist(statistics.norms, bins=min(30, max(5, len(statistics.norms) // 3)), color=COLOURS[3])
    norms.axvline(1, color="#202124", linewidth=0.8, linestyle="--")
    norms.set(title=r"norms of the latents, in units of $\sqrt{L}$", xlabel="norm", ylabel="latents")
    return drawn(figure)
