"""What an alignment of modes measured: a typed record that saves to JSON."""
from __future__ import annotations

from dataclasses import dataclass, field

from ..records import Record
from ._report import AlignedStep


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
class MixtureReport(Record):
    """The settings, one record per mode, the largest first, BIC by number of components, and the seconds
    that sampling and averaging took."""

    FORMAT = "mental-averages/mode-alignment-report"
    NAME = "a report of the averages of modes"

    settings: dict
    modes: list[ModeRecord]
    bic: list[list[float]]  # [number of components, BIC]
    sampling_seconds: float = 0.0  # of the seconds: plain samples and the mixture
    seconds: float = 0.0

    @property
    def in_own_mode(self) -> int:
        """How many averages are closer to their own mode than to any other."""
        return sum(record.nearest == mode for mode, record in enumerate(self.modes))
