"""How far a reading of channel means has come."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from ..execution import Event, Progress
from ._channel_means import MeansState, Reading


class MeansMonitor:
    """A watcher of `channel_means` and `means_of_layers` that tells which share of all noisy latents has been read."""

    def __init__(self, tell: Callable[[Progress], None], reading: Reading, count: int, sigmas: Sequence[float]):
        self.tell, self.total = tell, reading.rows(count, sigmas)

    def __call__(self, event: Event, state: MeansState) -> None:
        if event.rows:
            self.tell(Progress(state.done / self.total, f"{state.done} of {self.total} noisy latents read"))
