"""Everything that an alignment of modes under way needs to go on: the state of its present part."""
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..diffusion import Denoiser, at_step, start_scale, starting_noise, stepping
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
class Exploration:
    """K latents that are being sampled plainly, and what was seen of them at one noise level on the way."""

    latents: Any  # a tensor, None before the run has begun
    step: int = 0
    at_level: Any = None  # tensors once the level has been passed
    features: Any = None
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def from_noise(cls, denoiser: Denoiser, sigma: float, count: int, shape: tuple[int, ...], seed: int) -> Exploration:
        return cls(start_scale(denoiser, sigma) * starting_noise(count, shape, seed))

    def explored(self) -> Explored:
        return Explored(self.latents, self.at_level, self.features)

    def packed(self) -> Packed:
        seen = {} if self.at_level is None else {"at_level": self.at_level, "features": self.features}
        return {"latents": self.latents, **seen}, {"step": self.step, "seconds": self.seconds, "pace": self.pace}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> Exploration:
        return cls(tensors["latents"], meta["step"], tensors.get("at_level"), tensors.get("features"),
                   meta.get("seconds", 0.0), meta.get("pace", {}))


def explore(denoiser: Denoiser, sigmas: Sequence[float], level: int, batch: BatchSize, state: Exploration,
            read: Callable[[Denoiser, Tensor, float, BatchSize], Tensor]) -> Generator[Event, None, None]:
    """Sample the state's latents plainly to the end, and `read` their features after `level` steps."""
    steps = len(sigmas) - 1
    for step in range(state.step, steps):
        with at_step(step + 1, steps):
            if step == level:
                features = read(denoiser, state.latents, sigmas[step], batch)
                state.at_level, state.features = state.latents.clone(), features
            stepped = yield from stepping(denoiser, state.latents, sigmas[step], sigmas[step + 1], batch)
        state.latents, state.step = stepped, step + 1
        yield Event("step", 0.0, changed=True, closes=state.step == steps)


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
