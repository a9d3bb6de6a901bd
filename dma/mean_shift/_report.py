"""What an average by mean shift measured: a typed record that saves to JSON."""
from __future__ import annotations

from dataclasses import dataclass, field

from ..records import Record


@dataclass(frozen=True)
class AveragedLevel:
    """One level. Distances are between clean latents (C, H, W), over sqrt(L)."""

    sigma: float
    count: int  # noises the mean was taken over
    mean_error: float | None  # standard error of the mean, relative to the mean's norm; null with fewer than two pairs
    spread: float  # root mean square distance of a prediction from their mean
    moved: float | None  # distance of the mean from that of the level before; null where there is none


@dataclass(frozen=True)
class MeanShiftReport(Record):
    """The settings, one record per averaged level, and the seconds it took, resumed parts included."""

    FORMAT = "mental-averages/mean-shift-report"
    NAME = "a report of an average by mean shift"

    settings: dict
    levels: list[AveragedLevel] = field(default_factory=list)
    seconds: float = 0.0
