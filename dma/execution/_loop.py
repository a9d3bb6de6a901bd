"""The one way in which loops of long work are run, watched, saved and gone on with.

A loop is a generator: it works on its state, tells of each micro-batch by an `Event`, and touches no clock, text or
disk. Those who watch it do: `Clock`, `Checkpoint`, and whatever shows progress.
"""
from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, Protocol, TypeVar

from torch import Tensor

from ._progress import Event

SECONDS_BETWEEN_SAVES = 10.0
# How many times as long as the last save took there are at least between two within a step: large states on a slow
# disk would otherwise take much of a run's time, and write terabytes.
SAVES_APART = 20

Result = TypeVar("Result")
Told = TypeVar("Told")
Retold = TypeVar("Retold")


class Watcher(Protocol):
    """Hears of every event of a loop, with the loop's state as it is then.

    One that has a method `close(state)` as well has it called when the loop has ended, whatever has ended it.
    """

    def __call__(self, event: Event, state: Any) -> None: ...


class Resumable(Protocol):
    """A state that can be saved. `part` names its place where a run saves several one after the other."""

    part: str

    @property
    def where(self) -> str:
        """How far the run has come, in words such as "step 3": what is behind it."""
        ...

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        """Everything that a resume needs, as tensors and as what JSON can hold."""
        ...


class SavedState(Protocol):
    """A place that keeps the state of one run; `RunState` is one on disk."""

    def load(self) -> tuple[dict[str, Tensor], dict] | None: ...

    def save(self, tensors: dict[str, Tensor], meta: dict) -> bool: ...  # whether it is kept now


def drive(events: Generator[Event, None, Result], state: Any, watchers: Sequence[Watcher] = ()) -> Result:
    """Run a loop to its end and return what it returns; watchers hear of each event in their order.

    Whatever ends the loop, an error or an interrupt that a watcher raises included, watchers are closed with the state
    as it is then; what ended it is raised, and not what closing may run into. Between two events a loop changes its
    state only when it tells of the second, so that this is a state that can be gone on from. A watcher that comes
    after one which raises does not hear of the event: a `Checkpoint` comes first.

    >>> def count(state):
    ...     while state["done"] < 3:
    ...         state["done"] += 1
    ...         yield Event("count")
    ...     return "finished"
    >>> heard = []
    >>> drive(count({"done": 1}), None, [lambda event, state: heard.append(event.kind)]), heard
    ('finished', ['count', 'count'])
    """
    try:
        result = _heard(events, state, watchers)
    except BaseException:
        for error in _closed(watchers, state):
            logging.warning("At the end of the run: %s", error)
        raise
    finally:
        events.close()
    errors = _closed(watchers, state)
    for error in errors[1:]:
        logging.warning("At the end of the run: %s", error)
    if errors:
        raise errors[0]
    return result


def retold(steps: Generator[Told, None, Result], tell: Callable[[Told], Retold]) -> Generator[Retold, None, Result]:
    """What a generator tells of, as `tell` says it, such as in events; returns what the generator returns.

    >>> def halves():
    ...     yield 0.5
    ...     return "finished"
    >>> drive(retold(halves(), lambda share: Event("count", share)), None)
    'finished'
    """
    with closing(steps):
        while True:
            try:
                told = next(steps)
            except StopIteration as end:
                return end.value
            event = tell(told)
            del told  # as in `_heard`
            yield event
            del event


def result_of(steps: Generator[Any, None, Result]) -> Result:
    """What a generator returns, where nobody hears what it tells of on the way.

    >>> def halves():
    ...     yield 0.5
    ...     return "finished"
    >>> result_of(halves())
    'finished'
    """
    with closing(steps):
        return _heard(steps, None, ())


def _heard(events: Generator[Event, None, Result], state: Any, watchers: Sequence[Watcher]) -> Result:
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        for watch in watchers:
            watch(event, state)
        del event  # its tensors are not to be in memory beside those of the next


def _closed(watchers: Sequence[Watcher], state: Any) -> list[Exception]:
    """Close all watchers; gives what they have raised."""
    errors: list[Exception] = []
    for watch in watchers:
        close = getattr(watch, "close", None)
        if close is not None:
            try:
                close(state)
            except Exception as error:
                errors.append(error)
    return errors


def resumed(unpacked: Callable[[dict[str, Tensor], dict], Result], place: SavedState | None) -> Result | None:
    """The state that was saved in a place, as `unpacked` makes it of what was packed; None if there is none."""
    found = place.load() if place else None
    return unpacked(*found) if found else None


class Checkpoint:
    """A watcher that saves the state: at the end of each step, within one every so many seconds, and at the end.

    place: where to, or a function of the part of the state that is to be saved. seconds: at least so many between two
    saves within a step, and more where a save takes long, so that they take at most a twentieth of the time; at 0
    or below the state is saved at every change.
    """

    def __init__(self, place: SavedState | Callable[[str], SavedState], *, seconds: float = SECONDS_BETWEEN_SAVES):
        self.place, self.seconds, self.last, self.unsaved = place, seconds, time.monotonic(), False
        self.took = 0.0  # seconds of the last save

    def __call__(self, event: Event, state: Resumable) -> None:
        self.unsaved |= event.changed or event.closes
        if event.closes or (event.changed and self.due()):
            self.save(state)

    def due(self) -> bool:
        """Whether it is time for a save within a step."""
        return self.seconds <= 0 or time.monotonic() - self.last > max(self.seconds, SAVES_APART * self.took)

    def close(self, state: Resumable) -> None:
        if self.unsaved:
            self.save(state)

    def save(self, state: Resumable) -> None:
        began = time.monotonic()
        place = self.place(state.part) if callable(self.place) else self.place
        self.unsaved = not place.save(*state.packed())
        self.last = time.monotonic()
        self.took = self.last - began
