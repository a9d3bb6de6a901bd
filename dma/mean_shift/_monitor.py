"""Where an average by mean shift stands, for a progress bar and a log."""
from __future__ import annotations

from collections.abc import Callable

from ..execution import Event, Progress, seconds_for
from ._settings import MeanShiftSettings
from ._state import MeanShiftState


class MeanShiftMonitor:
    """A watcher of `mean_shift` that tells of its progress: predictions behind it, of the most that there can be.

    steps: of the schedule from the first averaged level on. The mean of the level under way is what it shows.
    """

    def __init__(self, tell: Callable[[Progress], None], settings: MeanShiftSettings, steps: int):
        self.tell, self.settings = tell, settings
        self.averaging = settings.count * settings.averaged_steps
        self.total = self.averaging + settings.keep * (steps - settings.averaged_steps)
        self.sampled = 0

    def __call__(self, event: Event, state: MeanShiftState) -> None:
        if event.kind != "predict":
            return
        level, levels = len(state.records), self.settings.averaged_steps
        if level < levels:
            done = level * self.settings.count + event.row
            error = "" if event.value is None else f", error {event.value:.2g}"
            message = f"averaged level {level + 1} of {levels}: {event.row} of at most {event.rows} noises{error}"
        else:
            self.sampled += int(event.amount)
            done, message = self.averaging + self.sampled, "sampling the average"
        left = seconds_for(state.pace, "predict", self.total - done)
        early = level < levels and self.settings.mean_error > 0
        self.tell(Progress(min(1.0, done / self.total), message, event.clean, left, at_most=early))
