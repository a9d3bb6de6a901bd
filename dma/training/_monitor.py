"""Where a training stands, for a progress bar and a log."""
from __future__ import annotations

import time
from collections.abc import Callable

from torch import Tensor

from ..execution import Event, Progress
from ._report import running_mean
from ._settings import TrainingSettings
from ._state import TrainingState


class TrainingMonitor:
    """A watcher of `train` that tells of its progress after each step.

    preview: gives a clean latent (1, C, H, W) to show after so many steps, or None.
    """

    def __init__(self, tell: Callable[[Progress], None], settings: TrainingSettings, *,
                 preview: Callable[[int], Tensor | None] = lambda done: None):
        self.tell, self.steps, self.preview = tell, settings.steps, preview
        self.started, self.first = time.monotonic(), -1

    def __call__(self, event: Event, state: TrainingState) -> None:
        done = len(state.losses)
        if self.first < 0:  # a resumed training starts somewhere in the middle
            self.first = done - (event.kind == "train")
        if event.kind != "train":
            return
        pace = (time.monotonic() - self.started) / (done - self.first)
        message = f"step {done} of {self.steps}, loss {running_mean(state.losses[-100:])[-1]:.4g}"
        self.tell(Progress(done / self.steps, message, self.preview(done), pace * (self.steps - done)))
