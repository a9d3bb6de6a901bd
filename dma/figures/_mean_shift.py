"""Pictures of an average by mean shift: what was measured at each level, and where looks differ."""
from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..mean_shift import MeanShiftReport
from ._style import drawn, new_figure

HEAT = "inferno"


def plot_mean_shift(report: MeanShiftReport, *, width: int = 1024) -> Tensor:
    """Error of the mean, noises taken, spread of the predictions and how far the mean moved, by noise level, as an
    image (1, H, W, 3) in [0, 1].

    Raises ValueError for a report without averaged levels.
    """
    if not report.levels:
        raise ValueError("This report of an average by mean shift has no averaged levels.")
    figure = new_figure(width)
    errors, counts, spread, moved = figure.subplots(2, 2).flat
    numbers = np.arange(1, len(report.levels) + 1)
    for axes, attribute, colour, title in ((errors, "mean_error", "#6a4c93", "standard error of the mean / its norm"),
                                           (spread, "spread", "#30638e", "spread of the predictions"),
                                           (moved, "moved", "#d1495b", "how far the mean moved")):
        values = np.array([getattr(level, attribute) for level in report.levels], float)  # null becomes NaN
        axes.plot(numbers, values, "o-", color=colour, markersize=4)
        axes.set(title=title)
        if np.isnan(values).all():
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
        elif np.nanmax(values) > 0:
            axes.set_ylim(0, 1.1 * np.nanmax(values))
    counts.bar(numbers, [level.count for level in report.levels], color="#00798c")
    counts.set(title="noises the mean was taken over")
    for axes in figure.axes:
        axes.set_xticks(numbers, [f"{level.sigma:.3g}" for level in report.levels])
        axes.set_xlim(0.5, len(numbers) + 0.5)
    for axes in (spread, moved):
        axes.set_xlabel(r"noise level $\sigma$")
    return drawn(figure)


def heat_map(spread: Tensor, *, factor: int = 8) -> Tensor:
    """A picture (1, factor H, factor W, 3) in [0, 1] of a spread (C, H, W), over the place: black where it is least,
    bright where it is greatest.

    The root mean square over channels is drawn, smoothly between places, `factor` pixels for each. Raises ValueError
    for a spread that is not finite.
    """
    import matplotlib

    values = spread.detach().to("cpu", torch.float32).square().mean(0).sqrt()  # (H, W)
    if not torch.isfinite(values).all():
        raise ValueError("This spread contains NaN or infinity: predictions of the model were not finite.")
    fine = interpolate(values[None, None], scale_factor=factor, mode="bilinear", align_corners=False)[0, 0]
    low, high = fine.min().item(), fine.max().item()
    # Where nothing differs there is nothing to show: black, not the rounding of zeros.
    even = high - low <= 1e-6 * max(high, math.ulp(1.0))
    scaled = torch.zeros_like(fine) if even else (fine - low) / (high - low)
    return torch.from_numpy(matplotlib.colormaps[HEAT](scaled.numpy())[..., :3].copy()).float()[None]
