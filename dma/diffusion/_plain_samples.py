"""Plain samples, those that an ordinary sampler draws, as work that can be watched and gone on with."""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Tensor

from ..execution import BatchSize, Clock, Event, Watcher, choose_batch, drive
from ._denoiser import Denoiser
from ._latents import at_step, check_finite
from ._noise import start_scale, starting_noise
from ._sampling import stepping
from ._schedule import check_falling

State = TypeVar("State", bound="SamplesState")


class Descending(Protocol):
    """A state of latents on their way down, such as `SamplesState`, which `drawing` works on."""

    latents: Any  # (N, C, H, W), before the step `step`
    step: int


@dataclass
class SamplesState:
    """Samples (N, C, H, W) before the step `step` of their way down."""

    latents: Any  # a tensor, None before the run has begun
    step: int = 0
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    @classmethod
    def from_noise(cls: type[State], denoiser: Denoiser, sigma: float, count: int, shape: tuple[int, ...],
                   seed: int) -> State:
        """Before the first step, at noise level `sigma`: the noise that a KSampler draws for a batch of `count` latents
        of `shape` (C, H, W) with this seed."""
        return cls(start_scale(denoiser, sigma) * starting_noise(count, shape, seed))

    @property
    def where(self) -> str:
        """How far the run has come, in words."""
        return f"step {self.step}"

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        return {"latents": self.latents}, {"step": self.step, "seconds": self.seconds, "pace": self.pace}

    @classmethod
    def unpacked(cls: type[State], tensors: dict[str, Tensor], meta: dict) -> State:
        """The state that `packed` was asked for."""
        return cls(tensors["latents"], meta["step"], meta.get("seconds", 0.0), meta.get("pace", {}))


def draw_samples(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], count: int, seed: int, *,
                 batch: BatchSize | None = None, watchers: Sequence[Watcher] = (),
                 state: SamplesState | None = None) -> Tensor:
    """Plain samples (count, C, H, W) of `shape` (C, H, W) along `sigmas` (S + 1,), on the CPU: those that an ordinary
    sampler with deterministic steps draws from this seed. The result does not depend on `batch` beyond rounding.

    state: where to go on, instead of at the noise of the seed. Events are those of `sample`, and "step" after each
    step.

    Raises ValueError for noise levels that do not fall, and, as NotFiniteError that names the step, where the model
    predicts NaN or infinity.
    """
    check_falling(sigmas)
    if state is None:
        state = SamplesState.from_noise(denoiser, sigmas[0].item(), count, shape, seed)
    drive(drawing(denoiser, sigmas.tolist(), choose_batch(batch, shape), state), state, (Clock(), *watchers))
    return check_finite(state.latents, "The samples", 0.0)


def drawing(denoiser: Denoiser, sigmas: Sequence[float], batch: BatchSize, state: Descending,
            before_step: Callable[[int], Iterable[Event]] = lambda step: ()) -> Generator[Event, None, None]:
    """The loop of `draw_samples`: works on `state` from where it stands to its end.

    before_step: is given the number of each step, and what it tells of is done before that step is taken.
    """
    steps = len(sigmas) - 1
    for step in range(state.step, steps):
        with at_step(step + 1, steps):
            yield from before_step(step)
            latents = yield from stepping(denoiser, state.latents, sigmas[step], sigmas[step + 1], batch)
        state.latents, state.step = latents, step + 1
        yield Event("step", 0.0, changed=True, closes=state.step == steps)
