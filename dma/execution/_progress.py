"""What a loop of long work tells those who watch it, and how long each kind of its work has taken."""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Event:
    """Something that a loop has done; its state can be gone on from whenever it tells of one.

    kind: what was done, in a word of the loop's own, such as "mean", "match" or "predict".
    amount: how much of it: rows, iterations, steps; for the pace.
    row, rows: how far the present pass over so many rows has come, where it is a pass over rows.
    value: the number that the pass is watched by, such as an error or a residual, if there is one.
    clean: a clean latent (1, C, H, W) to look at, if there is one.
    under_way: how much of the rows after `row` is done, in rows, where it is told of within them, and `iteration` how
        many iterations these have behind them.
    changed: whether a resume gains by it that the state is saved now.
    closes: whether a step has ended, after which the state is saved in any case.
    """

    kind: str
    amount: float = 1.0
    row: int = 0
    rows: int = 0
    value: float | None = None
    clean: Tensor | None = None
    under_way: float = 0.0
    iteration: int = 0
    changed: bool = False
    closes: bool = False


@dataclass(frozen=True)
class Iteration:
    """How many iterations lie behind rows that are worked on together, of `most` at most."""

    iteration: int
    most: int

    @property
    def share(self) -> float:
        """The share of the work that lies behind them; what follows the last iteration counts as one more."""
        return self.iteration / (self.most + 1)

    def event(self, kind: str, rows: slice, total: int, *, amount: float = 0.0, value: float | None = None,
              changed: bool = False) -> Event:
        """The event that tells of it, within a pass over `total` rows of which `rows` are worked on.

        >>> event = Iteration(1, 3).event("fit", slice(4, 6), 8)
        >>> event.row, event.under_way, event.rows, event.iteration
        (4, 0.5, 8, 1)
        """
        return Event(kind, amount, rows.start, total, value, iteration=self.iteration, changed=changed,
                     under_way=(rows.stop - rows.start) * self.share)


@dataclass(frozen=True)
class Progress:
    """Where a run stands: the share of its planned work, a line for the log, and perhaps a clean latent to show.

    seconds_left is what is to be expected from the pace so far, where it is known; at_most says that the work that is
    left is the most that there can be.
    """

    fraction: float
    message: str
    preview: Tensor | None = None
    seconds_left: float | None = None
    at_most: bool = False


class Timed(Protocol):
    """A state that knows what its run has cost, the parts before a resume included."""

    seconds: float
    pace: dict[str, list[float]]  # by kind of work, the seconds spent on it and how much of it was done


class Clock:
    """A watcher that writes into the state what its run costs.

    All time since the last event went into the kind of work that the event tells of: previews and saves too, as they
    will again.
    """

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, event: Event, state: Timed) -> None:
        now = time.monotonic()
        passed, self.last = now - self.last, now
        state.seconds += passed
        spent, done = state.pace.get(event.kind, (0.0, 0.0))
        state.pace[event.kind] = [spent + passed, done + event.amount]


def seconds_for(pace: dict[str, list[float]], kind: str, amount: float) -> float:
    """How long `amount` of a kind of work takes at the pace of a state; 0 for a kind that has not been seen.

    >>> seconds_for({"mean": [2.0, 10.0]}, "mean", 5)
    1.0
    """
    spent, done = pace.get(kind, (0.0, 0.0))
    return amount * spent / done if done else 0.0


class PassMonitor:
    """A watcher that tells of the progress of a loop of `passes` over all its rows that are all alike, as in sampling.

    ended: passes that are behind the loop when it begins, as in one that is gone on with.

    >>> told = []
    >>> monitor = PassMonitor(told.append, "sampling", passes=2)
    >>> for event in (Event("predict", 3, 3, 4), Event("predict", 1, 4, 4), Event("predict", 3, 3, 4)):
    ...     monitor(event, None)
    >>> [(progress.fraction, progress.message) for progress in told]
    [(0.375, 'sampling, step 1 of 2'), (0.5, 'sampling, step 1 of 2'), (0.875, 'sampling, step 2 of 2')]
    """

    def __init__(self, tell: Callable[[Progress], None], what: str, passes: int, *, ended: int = 0):
        self.tell, self.what, self.passes, self.ended = tell, what, passes, ended

    def __call__(self, event: Event, state: object) -> None:
        if not event.rows:
            return
        message = f"{self.what}, step {self.ended + 1} of {self.passes}"
        if event.iteration:
            message += f", iteration {event.iteration}"
        behind = self.ended + (event.row + event.under_way) / event.rows
        # Iterations end early, passes do not.
        self.tell(Progress(behind / self.passes, message, event.clean, at_most=event.iteration > 0))
        self.ended += event.row == event.rows
