"""The round trip: what a trajectory's own way back from its own noise makes of its clean latents."""
from __future__ import annotations

from collections.abc import Generator

from ..diffusion import Denoiser
from ..execution import BatchSize, Event
from ._report import RoundTrip, round_trip_error
from ._trajectory import Trajectory
from ._way_back import descending


def round_trip(denoiser: Denoiser, trajectory: Trajectory, batch: BatchSize) -> Generator[Event, None, RoundTrip]:
    """Sample the noise of a trajectory and compare with its clean latents; events are those of `way_back`."""
    start = trajectory.scale * trajectory.noise
    restored = yield from descending(denoiser, start, trajectory.levels, trajectory.method, trajectory.companion, batch)
    return round_trip_error(trajectory.latents[0], restored)
