"""What a training measured: a typed record that saves to JSON."""
from __future__ import annotations

from dataclasses import dataclass

from .. import records

TRAINING_FORMAT = "mental-averages/training-report"
VERSION = 1


@dataclass(frozen=True)
class TrainingReport:
    """The settings of a training, the loss of each step before its update, and the seconds it took, resumed parts
    included."""

    settings: dict
    losses: list[float]
    seconds: float = 0.0

    def to_json(self) -> str:
        return records.to_json(TRAINING_FORMAT, VERSION, self)

    @classmethod
    def from_json(cls, text: str) -> TrainingReport:
        """Read what `to_json` wrote. Raises ValueError with a sentence for the user when the text is anything else."""
        data = records.fields_of(text, "a report of a training", TRAINING_FORMAT, VERSION)
        try:
            return cls(dict(data["settings"]), [float(loss) for loss in data["losses"]], float(data["seconds"]))
        except (KeyError, TypeError, ValueError) as error:
            raise records.damaged(error) from None


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
