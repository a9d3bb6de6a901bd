"""Where an alignment of modes stands, for a progress bar and a log."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..clustering import ClusterSettings
from ..diffusion import Denoiser
from ..execution import Event, Progress, seconds_for
from ._mixture_state import DISTANCES, SAMPLES, MixtureState
from ._monitor import Monitor
from ._pace import PREDICTION_COST, Plan
from ._settings import AlignmentSettings


class MixtureMonitor:
    """A watcher of `align_mixture` that tells of its progress; see `Monitor`. `sampled`: the samples are given."""

    def __init__(self, tell: Callable[[Progress], None], settings: AlignmentSettings, sigmas: Tensor,
                 mixture: ClusterSettings, level: int, *, sampled: bool = False, denoiser: Denoiser | None = None):
        self.tell, self.settings, self.sigmas, self.level, self.denoiser = tell, settings, sigmas, level, denoiser
        self.steps, self.modes = len(sigmas) - 1, mixture.largest_count
        self.prediction = 0.0 if sampled else PREDICTION_COST * settings.count  # what a step of all samples costs
        self.exploring = settings.count + self.prediction * self.steps
        plan = Plan.of(settings, self.steps - level, settings.count, settings.moving)
        measuring = settings.count + mixture.largest_count * plan.kept
        whole = self.exploring + mixture.largest_count * plan.total + measuring
        self.share, self.measured = self.exploring / whole, measuring / whole
        self.part = SAMPLES
        self.monitor: Any = None  # the Monitor of the present mode

    def __call__(self, event: Event, state: MixtureState) -> None:
        if event.kind == "clusters":
            self.modes = event.rows
        elif event.kind == "fit":
            start = f", start {event.iteration} of the next" if event.iteration else ""
            self.tell(Progress(self.share, f"fitting mixtures, {event.row} of {event.rows}{start}", event.clean,
                               at_most=True))
        elif state.part == DISTANCES:
            left = event.rows - event.row
            self.tell(Progress(1 - self.measured * left / event.rows,
                               f"comparing averages with samples, {event.row} of {event.rows}",
                               seconds_left=seconds_for(state.pace, "read", left)))
        elif state.part != SAMPLES:
            if state.part != self.part:
                self.part = state.part
                self.monitor = Monitor(lambda progress: self.tell(self.within(progress, state)), self.settings,
                                       self.sigmas[self.level:], start=state.ensemble, denoiser=self.denoiser)
            self.monitor(event, state.current)
        elif event.kind == "predict":
            message = f"sampling {event.rows} latents, step {state.exploration.step + 1} of {self.steps}"
            self.tell(Progress(self.explored(state, event.row / event.rows), message, event.clean,
                               at_most=True))
        elif event.kind == "read":
            self.tell(Progress(self.explored(state), f"reading features, {event.row} of {event.rows}",
                               at_most=True))

    def explored(self, state: MixtureState, of_step: float = 0.0) -> float:
        """The share of the whole that lies behind samples of which so much of a step is done."""
        found = state.exploration
        return self.share * (found.reading.read + self.prediction * (found.step + of_step)) / self.exploring

    def within(self, progress: Progress, state: MixtureState) -> Progress:
        """A mode's progress as that of the whole."""
        mode = len(state.finished)
        left = progress.seconds_left
        if left is not None:
            # The modes that follow are taken to need what those so far needed, this one included.
            taken = state.current.seconds + left + sum(average.seconds for average in state.finished)
            left += (self.modes - mode - 1) * taken / (mode + 1)
            left += seconds_for(state.exploration.pace, "read", self.settings.count)
        return dataclasses.replace(
            progress,
            fraction=self.share + (1 - self.share - self.measured) * (mode + progress.fraction) / self.modes,
            message=f"mode {mode + 1} of {self.modes}, {progress.message}", seconds_left=left)
