"""What the work of a run is told by: events on its way, and how long each kind of work has taken."""
from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """Where a run stands: the share of its planned work, a line for the log, and perhaps a clean latent to show.

    seconds_left is what is to be expected from the pace so far, known when the mean of the second aligned step is.
    """

    fraction: float
    message: str
    preview: Tensor | None = None
    seconds_left: float | None = None


class Pace:
    """Seconds spent on each kind of work so far, and how much of it was done; `state` is both, to be saved with a run.

    Kinds are "mean" (rows of features without gradient), "match" (iterations of latents) and "predict" (rows of guided
    predictions).
    """

    def __init__(self, state: dict[str, list[float]] | None = None):
        self.state = state or {}
        self.last = time.monotonic()

    def lap(self, kind: str, amount: float) -> None:
        """All time since the last lap went into `amount` of a kind of work: previews and saves too, as they will
        again."""
        now = time.monotonic()
        spent, done = self.state.get(kind, (0.0, 0.0))
        self.state[kind], self.last = [spent + now - self.last, done + amount], now

    def seconds(self, kind: str, amount: float) -> float:
        """How long `amount` of a kind of work takes; 0 for a kind that has not been seen."""
        spent, done = self.state.get(kind, (0.0, 0.0))
        return amount * spent / done if done else 0.0
