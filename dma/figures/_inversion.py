"""The plot of an inversion."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ..inversion import InversionReport
from ._style import drawn, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_inversion(report: InversionReport, *, width: int = 1024) -> Tensor:
    """Residual and norm by noise level, and the round trip of every latent, as an image (1, H, W, 3) in [0, 1].

    Raises ValueError for a report without steps.
    """
    if not report.steps:
        raise ValueError("This report of an inversion has no steps.")
    figure = new_figure(width, 0.34)
    residuals, norms, round_trip = figure.subplots(1, 3)
    sigmas = np.array([step.sigma for step in report.steps])
    if all(step.residual for step in report.steps):
        _band(residuals, sigmas, [step.residual for step in report.steps], "#d1495b", floor=1e-12)
        residuals.set(yscale="log")
    else:
        _nothing(residuals)
    if any(step.iterations for step in report.steps):
        counts = residuals.twinx()
        counts.plot(sigmas, [np.mean(step.iterations) for step in report.steps], "x", color="#00798c", markersize=4)
        counts.set_ylabel("corrections (x)", fontsize=8, color="#00798c")
        counts.tick_params(labelsize=8)
        counts.spines["top"].set_visible(False)
    residuals.set(title=f"{report.settings['method']}: residual of a step back", xscale="log", xlabel="noise level")
    _band(norms, sigmas, [step.norm for step in report.steps], "#30638e")
    norms.axhline(1, color="#999999", linewidth=0.8)
    norms.set(title=r"norm of the latents, in units of $\sqrt{L}$", xscale="log", xlabel="noise level")
    if all(step.code for step in report.steps):
        _band(norms, sigmas, [step.code for step in report.steps], "#edae49")
        norms.set(title=r"norm of latents (blue) and codes (yellow), in $\sqrt{L}$")
    norms.set(ylim=(0, None))
    if report.round_trip:
        values = np.sort(report.round_trip.psnr)
        round_trip.bar(np.arange(1, len(values) + 1), values, color="#edae49")
        round_trip.set(title=f"round trip, mean {values.mean():.1f} dB", xlabel="latents, sorted", ylabel="PSNR in dB")
    else:
        round_trip.set(title="round trip")
        _nothing(round_trip)
    return drawn(figure)


def _band(axes: Axes, x: np.ndarray, values: list[list[float]], colour: str, floor: float = 0.0) -> None:
    """Median over latents with the range from the 5th to the 95th percentile."""
    low, middle, high = np.quantile(np.maximum(np.array(values), floor), (0.05, 0.5, 0.95), axis=1)
    axes.fill_between(x, low, high, color=colour, alpha=0.3, linewidth=0)
    axes.plot(x, middle, "o-", color=colour, markersize=3)


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes, color="#777777")
