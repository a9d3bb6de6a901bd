"""Matching: every latent is moved, each alone, until its own features are the target's."""
from __future__ import annotations

import functools
from collections.abc import Callable, Generator

from torch import Tensor

from ..diffusion import Denoiser, check_finite, is_spread, paper_scale, spread
from ..execution import BatchSize, Event, retold
from ..solvers import Begun, Iterate, Match, Solver, iterates_of
from ._settings import AlignmentSettings
from ._state import State


def match(denoiser: Denoiser, sigma: float, settings: AlignmentSettings, batch: BatchSize,
          state: State) -> Generator[Event, None, None]:
    """x_k <- argmin |H(x) - A|^2  for every latent that has not been matched to the state's target yet.

    In this process every iteration is told of and can be gone on from; workers give back micro-batches that are
    matched, the same to the last bit.
    """
    scale = paper_scale(denoiser.parametrization, sigma) if settings.paper_units else 1.0
    matching = _by_workers if is_spread(denoiser) else _here
    yield from matching(denoiser, sigma, scale, settings, batch, state)
    state.close_update()


def _here(denoiser: Denoiser, sigma: float, scale: float, settings: AlignmentSettings, batch: BatchSize,
          state: State) -> Generator[Event, None, None]:
    target, latents = state.target.to(denoiser.device), state.latents

    def solve(rows: slice) -> Generator[Event, None, None]:
        start = latents[rows].to(denoiser.device) * scale  # (b, C, H, W)
        begun = state.begun(rows)
        iterates = iterates_of(settings.solver, lambda z: denoiser.features(z / scale, sigma), start, target,
                               begun.memory if begun else None)
        taken = begun.iterations if begun else 0

        def tell(iterate: Iterate) -> Event:
            nonlocal taken
            before, taken = taken, int(iterate.iterations.sum())
            state.take_iterate(Begun(rows.start, rows.stop, taken, iterate.memory), iterate.latents / scale)
            return iterate.event("match", rows, len(latents), amount=taken - before,
                                 value=iterate.residual.mean().item(), changed=True)

        found = yield from retold(iterates, tell)
        yield _taken(state, rows, found, sigma, scale, told=taken)

    size = state.under_way.stop - state.under_way.start if state.under_way else None
    yield from batch.through(len(latents), solve, first=state.matched, size=size)


def _by_workers(denoiser: Denoiser, sigma: float, scale: float, settings: AlignmentSettings, batch: BatchSize,
                state: State) -> Generator[Event, None, None]:
    task = functools.partial(solving, sigma=sigma, scale=scale, solver=settings.solver, target=state.target)
    for rows, found in spread(denoiser, batch, len(state.latents), task, first=state.matched, latents=state.latents):
        yield _taken(state, rows, found, sigma, scale)


def solving(denoiser: Denoiser, *, sigma: float, scale: float, solver: Solver,
            target: Tensor) -> Callable[[slice, Tensor], Match]:
    """What matches latents (b, C, H, W) to a target; those of the match are in the units that `scale` leads to."""
    target = target.to(denoiser.device)

    def solve(rows: slice, latents: Tensor) -> Match:
        return solver.solve(lambda z: denoiser.features(z / scale, sigma), latents.to(denoiser.device) * scale, target)

    return solve


def _taken(state: State, rows: slice, found: Match, sigma: float, scale: float, told: int = 0) -> Event:
    """Take a match into the state; `told`: those of its iterations that events have told of."""
    check_finite(found.residual_after, "The features of latents that are matched", sigma)
    state.take_match(rows, found.latents / scale, found)
    residual = state.tally["residual_after"][: rows.stop].mean().item()
    return Event("match", found.iterations.sum().item() - told, rows.stop, len(state.latents), value=residual,
                 changed=True)
