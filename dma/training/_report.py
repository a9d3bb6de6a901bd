"""What a training measured: a typed record that saves to JSON."""
from __future__ import annotations

from dataclasses import dataclass

from ..records import Record


@dataclass(frozen=True)
class TrainingReport(Record):
    """The settings of a training, the loss of each step before its update, and the seconds it took, resumed parts
    included."""

    FORMAT = "mental-averages/training-report"
    NAME = "a report of a training"

    settings: dict
    losses: list[float]
    seconds: float = 0.0


def running_mean(values: list[float], window: int = 100) -> list[float]:
    """The mean of each value and up to `window` - 1 before it.

    >>> running_mean([1.0, 3.0, 5.0], window=2)
    [1.0, 2.0, 4.0]
    """
    means, total = [], 0.0
    for index, value in enumerate(values):
        total += value - (values[index - window] if index >= window else 0.0)
        means.append(total / min(index + 1, window))
    return means
