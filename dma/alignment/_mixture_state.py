"""Everything that an alignment of modes under way needs to go on: the state of its present part."""
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..diffusion import Denoiser, SamplesState, drawing
from ..execution import BatchSize, Event
from ._start import Ensemble
from ._state import State

Packed = tuple[dict[str, Tensor], dict]
SAMPLES = "samples"


@dataclass(frozen=True, eq=False)
class Explored:
    """K samples (K, C, H, W), their latents (K, C, H, W) at one noise level, and their features (K, D) there."""

    samples: Tensor
    latents: Tensor
    features: Tensor


@dataclass
class Exploration(SamplesState):
    """K latents that are being sampled plainly, and what was seen of them at one noise level on the way."""

    at_level: Any = None  # tensors once the level has been passed
    features: Any = None

    def explored(self) -> Explored:
        return Explored(self.latents, self.at_level, self.features)

    def packed(self) -> Packed:
        seen = {} if self.at_level is None else {"at_level": self.at_level, "features": self.features}
        tensors, meta = super().packed()
        return {**tensors, **seen}, meta

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> Exploration:
        state = super().unpacked(tensors, meta)
        state.at_level, state.features = tensors.get("at_level"), tensors.get("features")
        return state


def explore(denoiser: Denoiser, sigmas: Sequence[float], level: int, batch: BatchSize, state: Exploration,
            read: Callable[[Denoiser, Tensor, float, BatchSize], Tensor]) -> Generator[Event, None, None]:
    """Sample the state's latents plainly to the end, and `read` their features after `level` steps."""
    def look(step: int) -> None:
        if step == level:
            features = read(denoiser, state.latents, sigmas[step], batch)
            state.at_level, state.features = state.latents.clone(), features

    yield from drawing(denoiser, sigmas, batch, state, before_step=look)


@dataclass
class MixtureState:
    """Which part is under way, its state, and the states of the modes that are finished.

    restored: gives what was saved of a part, or None.
    """

    restored: Callable[[str], Packed | None] = lambda part: None
    part: str = SAMPLES
    exploration: Exploration = field(default_factory=lambda: Exploration(None))
    current: Any = None  # the Exploration, then a State for each mode
    ensemble: Ensemble | None = None
    finished: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.current = self.exploration

    def explore(self, new: Callable[[], Exploration]) -> None:
        """The samples come first: from where they were, or anew."""
        found = self.restored(SAMPLES)
        self.exploration = self.current = Exploration.unpacked(*found) if found else new()

    def align(self, mode: int, ensemble: Ensemble) -> None:
        """A mode is next, which starts from an ensemble."""
        self.part, self.ensemble = f"mode {mode}", ensemble
        found = self.restored(self.part)
        self.current = State.unpacked(*found) if found else State(len(ensemble.latents))

    def packed(self) -> Packed:
        return self.current.packed()

    # What the run costs is written down for the part that it is spent on.
    @property
    def seconds(self) -> float:
        return self.current.seconds

    @seconds.setter
    def seconds(self, value: float) -> None:
        self.current.seconds = value

    @property
    def pace(self) -> dict[str, list[float]]:
        return self.current.pace
