"""The plain samples that a family tree is grown from, as work that can be watched and gone on with."""
from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..diffusion import Denoiser, at_step, check_finite, start_scale, starting_noise, stepping
from ..execution import BatchSize, Clock, Event, Watcher, choose_batch, drive


@dataclass
class SamplesState:
    """Samples (N, C, H, W) before the step `step` of their way down."""

    latents: Tensor
    step: int = 0
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        return {"latents": self.latents}, {"step": self.step, "seconds": self.seconds, "pace": self.pace}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> SamplesState:
        """The state that `packed` was asked for."""
        return cls(tensors["latents"], meta["step"], meta["seconds"], meta["pace"])


def draw_samples(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], count: int, seed: int, *,
                 batch: BatchSize | None = None, watchers: Sequence[Watcher] = (),
                 state: SamplesState | None = None) -> Tensor:
    """Plain samples (count, C, H, W) of `shape` (C, H, W) along `sigmas` (S + 1,): those that an ordinary sampler with
    deterministic steps draws from this seed.

    Raises NotFiniteError, a ValueError that names the step, where the model predicts NaN or infinity.
    """
    if state is None:
        state = SamplesState(start_scale(denoiser, sigmas[0].item()) * starting_noise(count, shape, seed))
    drive(drawing(denoiser, sigmas.tolist(), choose_batch(batch, shape), state), state, (Clock(), *watchers))
    return check_finite(state.latents, "The samples", 0.0)


def drawing(denoiser: Denoiser, sigmas: Sequence[float], batch: BatchSize,
            state: SamplesState) -> Generator[Event, None, None]:
    """The loop of `draw_samples`: works on `state` from where it stands to its end."""
    steps = len(sigmas) - 1
    for step in range(state.step, steps):
        with at_step(step + 1, steps):
            latents = yield from stepping(denoiser, state.latents, sigmas[step], sigmas[step + 1], batch)
        state.latents, state.step = latents, step + 1
        yield Event("step", 0.0, changed=True, closes=state.step == steps)
