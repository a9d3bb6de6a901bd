"""Everything that an alignment of modes under way needs to go on: the state of its present part."""
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from ..diffusion import Denoiser, SamplesState, add_noise, drawing, salted_seed, starting_noise
from ..execution import BatchSize, Event
from ._mixture_features import Reading, read_pooled
from ._start import Ensemble
from ._state import State

Packed = tuple[dict[str, Tensor], dict]
Found = TypeVar("Found")
SAMPLES, DISTANCES = "samples", "distances"
MEMBERS = "members"  # of the modes that a saved state is of


@dataclass(frozen=True, eq=False)
class Explored:
    """K samples (K, C, H, W), their latents (K, C, H, W) at one noise level, and their features (K, D) there."""

    samples: Tensor
    latents: Tensor
    features: Tensor


@dataclass
class Exploration(SamplesState):
    """K latents that are being sampled plainly, and what was seen of them at one noise level on the way."""

    at_level: Any = None  # a tensor once the level has been passed
    reading: Reading = field(default_factory=Reading)  # of the features there

    @classmethod
    def of_samples(cls, denoiser: Denoiser, samples: Tensor, sigma: float, seed: int, steps: int) -> Exploration:
        """Finished latents (K, C, H, W), with all `steps` behind them, brought to noise level `sigma`, each by its own
        noise.

        The noise is none that samples of this seed start from: those would get back what they were made of.
        """
        samples = samples.cpu()
        noise = starting_noise(len(samples), tuple(samples.shape[1:]), salted_seed(seed, "given samples"))
        return cls(samples, steps, at_level=add_noise(denoiser.parametrization, samples, noise, sigma))

    def explored(self) -> Explored:
        return Explored(self.latents, self.at_level, self.reading.features)

    def packed(self) -> Packed:
        tensors, meta = super().packed()
        features, known = self.reading.packed()
        at_level = {} if self.at_level is None else {"at_level": self.at_level}
        return {**tensors, **at_level, **features}, {**known, **meta}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> Exploration:
        state = super().unpacked(tensors, meta)
        state.at_level, state.reading = tensors.get("at_level"), Reading.unpacked(tensors, meta)
        return state


def explore(denoiser: Denoiser, sigmas: Sequence[float], level: int, batch: BatchSize,
            state: Exploration) -> Generator[Event, None, None]:
    """Sample the state's latents plainly to the end, and read their features after `level` steps."""
    def look(step: int) -> Generator[Event, None, None]:
        if step == level and state.at_level is None:
            yield from read_pooled(denoiser, state.latents, sigmas[step], batch, state.reading)
            state.at_level = state.latents.clone()

    yield from drawing(denoiser, sigmas, batch, state, before_step=look)


@dataclass
class MixtureState:
    """Which part is under way, its state, and the states of the modes that are finished.

    restored: gives what was saved of a part, or None.
    """

    restored: Callable[[str], Packed | None] = lambda part: None
    part: str = SAMPLES
    exploration: Exploration = field(default_factory=lambda: Exploration(None))
    current: Any = None  # the Exploration, then a State for each mode, then a Reading
    ensemble: Ensemble | None = None
    members: list | None = None  # of the mode, or of all modes, that the present part is of
    finished: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.current = self.exploration

    def explore(self, new: Callable[[], Exploration]) -> None:
        """The samples come first: from where they were, or anew."""
        found = self.restored(SAMPLES)
        self.exploration = self.current = Exploration.unpacked(*found) if found else new()

    def align(self, mode: int, ensemble: Ensemble) -> None:
        """A mode is next, which starts from an ensemble."""
        self.ensemble = ensemble
        found = self._of_members(f"mode {mode}", sorted(ensemble.members), State.unpacked)
        self.current = found or State(len(ensemble.latents))

    def measure(self, members: Sequence[Sequence[int]]) -> None:
        """Features of the samples and of the averages of all modes, which have these members, are next."""
        self.current = self._of_members(DISTANCES, [sorted(rows) for rows in members], Reading.unpacked) or Reading()

    def _of_members(self, part: str, members: list, unpacked: Callable[..., Found]) -> Found | None:
        """What was saved of the part that is next, if it is of the same members, in whatever order.

        Modes are known by their numbers, which a mixture of features that are rounded otherwise may give to others.
        """
        self.part, self.members = part, members
        found = self.restored(part)
        return unpacked(*found) if found and found[1].get(MEMBERS) == members else None

    def packed(self) -> Packed:
        tensors, meta = self.current.packed()
        return tensors, meta if self.members is None else {**meta, MEMBERS: self.members}

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
