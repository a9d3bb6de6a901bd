"""The plot of a training."""
from __future__ import annotations

import numpy as np
from torch import Tensor

from ..training import TrainingReport, running_mean
from ._style import drawn, new_figure


def plot_training(report: TrainingReport, *, width: int = 1024) -> Tensor:
    """The loss of every step and its running mean, as an image (1, H, W, 3) in [0, 1].

    Most of the scatter is that of the noise levels, which have very different losses; the running mean shows the rest.
    Raises ValueError for a report without steps.
    """
    if not report.losses:
        raise ValueError("This report of a training has no steps.")
    window = max(1, min(100, len(report.losses) // 10))
    numbers = np.arange(1, len(report.losses) + 1)
    figure = new_figure(width, 0.5)
    axes = figure.subplots()
    axes.plot(numbers, np.maximum(report.losses, 1e-12), ".", color="#b0b7c3", markersize=3, label="each step")
    means = np.maximum(running_mean(report.losses, window), 1e-12)
    axes.plot(numbers, means, color="#d1495b", label=f"mean of the last {window} steps")
    axes.set(title=f"{report.settings.get('node', 'training')}: loss", xlabel="step", yscale="log")
    axes.legend(fontsize=8)
    return drawn(figure)
