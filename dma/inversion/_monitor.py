"""Where an inversion or a way back stands, for a progress bar and a log."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..execution import Event, PassMonitor, Progress

# By kind of event, the line for the log, and the share of a measured run; the rest of it is the round trip.
WORK = {"ascend": ("inverting", 0.6), "fit": ("null-text optimisation", 0.9), "descend": ("sampling", 1.0)}


class InversionMonitor:
    """A watcher of `invert`, `optimise_null_text` and the ways back that tells of their progress over so many `steps`.

    measure: whether a round trip follows. part: the first and the last fraction to tell of, where this is one part of
        a run.

    >>> told = []
    >>> monitor = InversionMonitor(told.append, 2)
    >>> for kind in ("ascend", "ascend", "descend", "descend"):
    ...     monitor(Event(kind, 1, 1, 1), None)
    >>> [(progress.fraction, progress.message) for progress in told[:3]]
    [(0.3, 'inverting, step 1 of 2'), (0.6, 'inverting, step 2 of 2'), (0.8, 'sampling, step 1 of 2')]
    """

    def __init__(self, tell: Callable[[Progress], None], steps: int, *, measure: bool = True,
                 part: tuple[float, float] = (0.0, 1.0)):
        self.tell, self.steps, self.measure, self.part = tell, steps, measure, part
        self.kind, self.ended = "", 0.0  # the kind of work that goes on, and the share that was done before it
        self.passes = PassMonitor(self.told, "", steps)

    def __call__(self, event: Event, state: object) -> None:
        if event.kind != self.kind:
            self.ended = self.share(self.kind) if self.kind else 0.0
            self.kind = event.kind
            self.passes = PassMonitor(self.told, WORK[event.kind][0], self.steps)
        self.passes(event, state)

    def share(self, kind: str) -> float:
        """The share of the run that is done when all work of a kind is."""
        return WORK[kind][1] if self.measure else 1.0

    def told(self, progress: Progress) -> None:
        first, last = self.part
        fraction = self.ended + (self.share(self.kind) - self.ended) * progress.fraction
        self.tell(replace(progress, fraction=first + (last - first) * fraction))
