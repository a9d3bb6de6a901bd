"""Matching: every latent is moved, each alone, until its own features are the target's."""
from __future__ import annotations

from collections.abc import Generator

from ..diffusion import Denoiser, check_finite, paper_scale
from ..execution import BatchSize, Event
from ..solvers import Match, iterates_of
from ._settings import AlignmentSettings
from ._state import Begun, State


def match(denoiser: Denoiser, sigma: float, settings: AlignmentSettings, batch: BatchSize,
          state: State) -> Generator[Event, None, None]:
    """x_k <- argmin |H(x) - A|^2  for every latent that has not been matched to the state's target yet."""
    scale = paper_scale(denoiser.parametrization, sigma) if settings.paper_units else 1.0
    target, latents = state.target.to(denoiser.device), state.latents

    def solve(rows: slice) -> Generator[Event, None, None]:
        start = latents[rows].to(denoiser.device) * scale  # (b, C, H, W)
        begun = state.begun(rows)
        iterates = iterates_of(settings.solver, lambda z: denoiser.features(z / scale, sigma), start, target,
                               begun.memory if begun else None)
        taken = begun.iterations if begun else 0
        while True:
            try:
                iterate = next(iterates)
            except StopIteration as end:
                found: Match = end.value
                break
            before, taken = taken, int(iterate.iterations.sum())
            state.take_iterate(Begun(rows.start, rows.stop, taken, iterate.memory), iterate.latents / scale)
            yield Event("match", taken - before, rows.start, len(latents), value=iterate.residual.mean().item(),
                        under_way=len(start) * iterate.iteration / (iterate.most + 1), iteration=iterate.iteration,
                        changed=True)
        check_finite(found.residual_after, "The features of latents that are matched", sigma)
        state.take_match(rows, found.latents / scale, found)
        residual = state.tally["residual_after"][: rows.stop].mean().item()
        yield Event("match", found.iterations.sum().item() - taken, rows.stop, len(latents), value=residual,
                    changed=True)

    size = state.under_way.stop - state.under_way.start if state.under_way else None
    yield from batch.through(len(latents), solve, first=state.matched, size=size)
    state.close_update()
