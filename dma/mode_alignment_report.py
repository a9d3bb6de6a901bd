"""What an alignment of modes measured: a typed record that saves to JSON, and its picture."""
from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from . import records
from .figures import drawn, new_figure, note_gradient_error
from .report import AlignedStep

FORMAT = "mental-averages/mode-alignment-report"
VERSION = 1


@dataclass(frozen=True)
class ModeRecord:
    """One mode: its samples, its alignment, and where its average has come out."""

    count: int  # samples
    share: float
    effective_count: float  # (sum r)^2 / sum r^2 of its responsibilities
    # |H(average) - M_c|^2 / |M_c|^2 to the mean features M_c of each mode, at the lowest noise level.
    distances: list[float]
    steps: list[AlignedStep] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def nearest(self) -> int:
        """The mode that the average is closest to; it should be its own."""
        return min(range(len(self.distances)), key=lambda mode: self.distances[mode])


@dataclass(frozen=True)
class ModeAlignmentReport:
    """The settings, one record per mode, the largest first, BIC by number of components, and the seconds it took."""

    settings: dict
    modes: list[ModeRecord]
    bic: list[list[float]]  # [number of components, BIC]
    sampling_seconds: float = 0.0  # of the seconds: plain samples and the mixture
    seconds: float = 0.0

    @property
    def in_own_mode(self) -> int:
        """How many averages are closer to their own mode than to any other."""
        return sum(record.nearest == mode for mode, record in enumerate(self.modes))

    def to_json(self) -> str:
        return records.to_json(FORMAT, VERSION, self)

    @classmethod
    def from_json(cls, text: str) -> ModeAlignmentReport:
        """Read what `to_json` wrote.

        Raises ValueError with a sentence for the user when the text is anything else.
        """
        data = records.fields_of(text, "a report of the averages of modes", FORMAT, VERSION)
        try:
            found = [ModeRecord(**{**record, "steps": [AlignedStep(**step) for step in record["steps"]]})
                     for record in data["modes"]]
            return cls(**{**data, "modes": found})
        except (KeyError, TypeError) as error:
            raise records.damaged(error) from None


def plot_mode_alignment(report: ModeAlignmentReport, width: int = 1024) -> Tensor:
    """Distances of averages to modes, residuals of each mode, and BIC, as an image (1, H, W, 3) in [0, 1]."""
    if not report.modes:
        raise ValueError("This report has no modes: it is damaged.")
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
