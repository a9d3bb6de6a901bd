"""How far a reconstruction from a representation has come."""
from __future__ import annotations

from collections.abc import Callable

from ..execution import Event, Progress
from ._reconstruct import ReconstructionSettings
from ._reconstruction_state import ReconstructionState
from ._representation import Representation


class ReconstructionMonitor:
    """A watcher of `reconstruct` that tells its noise level, and which share of the most passes lies behind it."""

    def __init__(self, tell: Callable[[Progress], None], settings: ReconstructionSettings, target: Representation):
        self.tell, self.settings, self.target = tell, settings, target
        self.match = sum(settings.solver.most_passes) + 1  # passes of a latent at a level, with that of its prediction

    def __call__(self, event: Event, state: ReconstructionState) -> None:
        if not event.rows:
            return
        count, levels = self.settings.count, len(self.target.sigmas)
        read = self.settings.reading(self.target).rows(count, self.target.sigmas)
        matched = count * len(state.records) + state.matched + event.under_way
        fraction = (matched * self.match + state.means.done) / (count * levels * self.match + read)
        message = (f"level {len(state.records) + 1} of {levels}, {state.matched} of {count} latents matched"
                   if len(state.records) < levels else f"{state.means.done} of {read} noisy latents read")
        if event.iteration:
            message += f", iteration {event.iteration} of the next"
        if event.value is not None:
            message += f", distance {event.value:.3f}"
        self.tell(Progress(fraction, message, event.clean, at_most=True))
