"""The value of a DMA_TRAJECTORY socket."""
from __future__ import annotations

from dataclasses import dataclass

from ...dma import inversion


@dataclass(frozen=True)
class SourceTrajectory:
    """The value of a DMA_TRAJECTORY socket: a trajectory, the guidance it was made for, and the prompt to lead away
    from."""

    trajectory: inversion.Trajectory
    guidance_scale: float
    negative: list | None = None  # takes the place of the negative prompt on the way back
