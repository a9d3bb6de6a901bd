"""What an inversion costs."""
from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Cost:
    """The state that `execution.Clock` writes into: seconds, and by kind of work the seconds and the amount of it."""

    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
