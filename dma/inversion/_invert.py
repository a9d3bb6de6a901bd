"""Deterministic inversion: from a clean latent up to the noise that deterministic sampling turns into it.

Each method has a file of its own beside this one; all are for eps, v and flow models unless they say otherwise.
Negative-prompt inversion (arXiv 2305.16807) needs no code of its own: invert at guidance 1, and sample with the source
prompt as the negative prompt. Latents wait on the CPU in fp32; the model sees micro-batches.
"""
from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from ..diffusion import Denoiser, at_step, check_finite, noise_of, rising, start_scale
from ..execution import BatchSize, Clock, Event, Watcher, choose_batch, drive, retold
from ._cost import Cost
from ._ddim import Ddim
from ._method import Ascent, Method, ascending, pointed_at
from ._norms import nominal_norms, relative_distances
from ._report import InversionReport, InvertedStep
from ._round_trip import round_trip
from ._state import State, joined, rows_of
from ._trajectory import Trajectory, ends_of
from ._velocity import Velocity


@dataclass(frozen=True)
class Inversion:
    """Inverted latents and what was measured on the way."""

    trajectory: Trajectory
    report: InversionReport


def invert(denoiser: Denoiser, clean: Tensor, sigmas: Tensor, *, method: Method = Ddim(),
           batch: BatchSize | None = None, measure: bool = True, whole: bool = False,
           watchers: Sequence[Watcher] = ()) -> Inversion:
    """Take clean latents (B, C, H, W) up the noise levels of a schedule `sigmas` (S + 1,), from its end to its start.

    With `measure` the report also holds each step's residual (how far a step back from the new latent alone, without
    what the method carries along, misses the old one, relative to the old one's norm) and the error of the whole round
    trip, at up to three times the model calls. A schedule that was turned round already is taken as well. With `whole`
    the trajectory keeps the latents of all levels, as `optimise_null_text` needs them, and otherwise those of the ends.

    Events are of the kind "ascend", one for each micro-batch of each step and for each iteration within it, where a
    method iterates; those of the round trip are "descend".
    Raises ValueError as `check_clean` does, for levels that are not monotone, where the method does not fit the model,
    and, as NotFiniteError that names the step, where the model predicts NaN or infinity.
    """
    levels = rising(sigmas)
    method.check(denoiser.parametrization)
    check_clean(clean)
    clean, cost = clean.detach().to("cpu", torch.float32), Cost()
    return drive(inverting(denoiser, clean, levels, method, choose_batch(batch, clean.shape[1:]), measure, cost, whole),
                 cost, (Clock(), *watchers))


def check_clean(clean: Tensor) -> None:
    """Raise ValueError where clean latents (B, C, H, W) cannot be inverted: where there are none, or one is not finite
    or all zero."""
    if len(clean) == 0 or not torch.isfinite(clean).all():
        raise ValueError("There is no latent to invert, or it contains NaN or infinity.")
    if (empty := (clean == 0).flatten(1).all(1)).any():
        raise ValueError(f"Latent {int(empty.nonzero()[0]) + 1} of {len(clean)} is empty (all zero): it is no picture.")


def inverting(denoiser: Denoiser, clean: Tensor, levels: tuple[float, ...], method: Method, batch: BatchSize,
              measure: bool, cost: Cost, whole: bool) -> Generator[Event, None, Inversion]:
    """The loop of `invert`, along rising `levels`."""
    velocity, state = Velocity(denoiser), method.begin(clean)
    latents, records = [clean], []
    for index in range(len(levels) - 1):
        with at_step(index + 1, len(levels) - 1):
            ascents = yield from step_up(velocity, state, levels, index, method, batch, measure)
        state = joined(state, [ascent.state for ascent in ascents])
        latents = [*(latents if whole else ends_of(latents, 1)), state[0].float()]
        noise = noise_of(denoiser.parametrization, latents[-1], levels[index + 1])
        records.append(InvertedStep(levels[index + 1], _values(ascent.residual for ascent in ascents),
                                    _values(ascent.iterations for ascent in ascents), nominal_norms(noise),
                                    _values(ascent.code for ascent in ascents)))
    trajectory = Trajectory(torch.stack(latents), levels, denoiser.parametrization, method,
                            method.companion(state, clean), start_scale(denoiser, levels[-1]))
    error = (yield from round_trip(denoiser, trajectory, batch)) if measure else None
    settings = {"method": method.name, **asdict(method), "count": len(clean), "sigmas": list(levels)}
    return Inversion(trajectory,
                     InversionReport(settings, records, error, velocity.calls / len(clean), cost.seconds))


def step_up(velocity: Velocity, state: State, levels: Sequence[float], index: int, method: Method, batch: BatchSize,
            measure: bool) -> Generator[Event, None, list[Ascent]]:
    """One step of all latents from levels[index] up to levels[index + 1], micro-batch by micro-batch."""
    unmeasured = Velocity(velocity.denoiser)  # its calls are not the inversion's own

    ascents: list[Ascent] = []

    def ascend(rows: slice) -> Generator[Event, None, None]:
        before, total = rows_of(state, rows), len(state[0])
        steps = ascending(method, velocity.of(rows), before, levels, index)
        ascent = yield from retold(steps, lambda step: step.event("ascend", rows, total))
        for part in (*ascent.state, *(() if ascent.residual is None else (ascent.residual,))):
            check_finite(part, "The latents predicted", levels[index + 1])
        if measure and ascent.residual is None:
            returned = method.descend(unmeasured.of(rows), method.resume(ascent.state[0], None), levels, index + 1)[0]
            ascent = replace(ascent, residual=relative_distances(returned, before[0]))
        first = slice(0, 1)
        estimate = pointed_at(method, rows_of(before, first), rows_of(ascent.state, first), levels[index],
                              levels[index + 1])
        # After all that may run out of memory, upon which this is done again.
        ascents.append(ascent)
        yield Event("ascend", rows.stop - rows.start, rows.stop, total, clean=estimate)

    yield from batch.through(len(state[0]), ascend)
    return ascents


def _values(parts: Iterable[Tensor | None]) -> list:
    """What was measured of each latent, from micro-batches that may have measured nothing."""
    return list(chain.from_iterable(part.tolist() for part in parts if part is not None))
