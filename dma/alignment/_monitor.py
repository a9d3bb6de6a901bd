"""Where an alignment stands, for a progress bar and a log: the share of its planned work, and the time that is left."""
from __future__ import annotations

import time
from collections.abc import Callable

from torch import Tensor

from ..diffusion import Denoiser
from ..execution import Event, Progress, seconds_for
from ._pace import PREDICTION_COST, Plan, seconds_left
from ._settings import AlignmentSettings
from ._start import Noise, Start
from ._state import State

SECONDS_BETWEEN_PREVIEWS = 2.0


class Monitor:
    """A watcher of `align` that tells of its progress.

    The time left is known from the second aligned step's target on. With a `denoiser`, what the first latent is going
    to be is shown every so often while latents are matched, too; it costs a prediction.
    """

    def __init__(self, tell: Callable[[Progress], None], settings: AlignmentSettings, sigmas: Tensor, *,
                 start: Start | None = None, denoiser: Denoiser | None = None):
        self.tell, self.settings, self.sigmas, self.denoiser = tell, settings, sigmas.tolist(), denoiser
        self.start = start or Noise(settings.count, (), settings.seed)
        self.expected_end: float | None = None
        self.last_preview = time.monotonic()

    def __call__(self, event: Event, state: State) -> None:
        now = time.monotonic()
        if self.expected_end is None and state.seconds_left is not None:
            self.expected_end = now + state.seconds_left
        plan = Plan.of(self.settings, len(self.sigmas) - 1, state.count, self.start.moving(self.settings))
        done = self.work_done(event, state, plan)
        self.expect(event, state, plan, done, now)
        state.seconds_left = None if self.expected_end is None else max(0.0, self.expected_end - now)
        message = self.message(event, state)
        if message:
            clean = self.preview(event, state, now)
            self.tell(Progress(min(1.0, done / plan.total), message, clean, state.seconds_left,
                               at_most=state.seconds_left is None))

    def expect(self, event: Event, state: State, plan: Plan, done: float, now: float) -> None:
        """Estimate anew when the run will end, where something new is known of it."""
        if event.kind == "target" and event.value is not None and state.records and state.update == 0:
            self.expected_end = now + seconds_left(state.pace, plan, state.records, event.value)
        elif event.kind == "predict" and state.step >= self.settings.aligned_steps:
            self.expected_end = now + seconds_for(state.pace, "predict", (plan.total - done) / PREDICTION_COST)

    def work_done(self, event: Event, state: State, plan: Plan) -> float:
        """The planned work that is behind an event, in passes up to the semantic layer."""
        if event.kind == "mean" and state.latents is None:
            return event.row
        aligned = min(state.step, self.settings.aligned_steps)
        before = plan.first + aligned * plan.step + state.update * plan.update
        if event.kind == "mean":
            return before + plan.moving - event.rows + event.row
        if event.kind == "match":
            return before + plan.moving + (event.row + event.under_way) / event.rows * (plan.update - event.rows)
        if event.kind == "predict" and state.step < self.settings.aligned_steps:
            return plan.first + (state.step + 1) * plan.step - PREDICTION_COST * (plan.moving - event.row)
        if event.kind == "predict":
            return before + PREDICTION_COST * ((state.step - aligned) * event.rows + event.row)
        return before + plan.moving

    def message(self, event: Event, state: State) -> str:
        """A line for the log; empty for what need not be told."""
        where = f"aligned step {state.step + 1} of {self.settings.aligned_steps}"
        if event.kind == "mean":
            return f"{where}: averaging features" + ("" if event.value is None else f", error {event.value:.2g}")
        if event.kind == "target" and state.update == 0:
            return f"{where}: matching the mean"  # which may be one batch, and take most of what is left
        if event.iteration:
            return (f"{where}: matched {event.row} of {event.rows}, iteration {event.iteration} of the next, residual "
                    f"{event.value:.2g}")
        if event.kind == "match":
            return f"{where}: matched {event.row} of {event.rows}, residual {event.value:.2g}"
        if event.kind == "predict" and state.step < self.settings.aligned_steps:
            return f"{where}: stepping all latents"
        return "sampling the finished latents" if event.kind == "predict" else ""

    def preview(self, event: Event, state: State, now: float) -> Tensor | None:
        first = event.kind == "target" and not state.records  # there is something to be seen at last
        due = event.kind == "match" and now - self.last_preview > SECONDS_BETWEEN_PREVIEWS
        if self.denoiser is None or not (first or due):
            return event.clean
        self.last_preview = now
        return self.denoiser.denoise(state.first_latent.to(self.denoiser.device), self.sigmas[state.step])
