"""Matching: every latent is moved, each alone, until its own features are the target's."""
from __future__ import annotations

import functools
from collections.abc import Callable, Generator

from torch import Tensor

from ..diffusion import Denoiser, check_finite, paper_scale, spread
from ..execution import BatchSize, Event
from ..solvers import Match, Solver
from ._settings import AlignmentSettings
from ._state import State


def match(denoiser: Denoiser, sigma: float, settings: AlignmentSettings, batch: BatchSize,
          state: State) -> Generator[Event, None, None]:
    """x_k <- argmin |H(x) - A|^2  for every latent that has not been matched to the state's target yet."""
    scale = paper_scale(denoiser.parametrization, sigma) if settings.paper_units else 1.0
    latents = state.latents
    task = functools.partial(solving, sigma=sigma, solver=settings.solver, target=state.target, scale=scale)
    for rows, found in spread(denoiser, batch, len(latents), task, first=state.matched, latents=latents):
        check_finite(found.residual_after, "The features of latents that are matched", sigma)
        state.take_match(rows, found.latents / scale, found)
        residual = state.tally["residual_after"][: rows.stop].mean().item()
        yield Event("match", found.iterations.sum().item(), rows.stop, len(latents), value=residual,
                    changed=True)
    state.close_update()


def solving(denoiser: Denoiser, *, sigma: float, solver: Solver, target: Tensor,
            scale: float) -> Callable[[slice, Tensor], Match]:
    """What matches latents x (b, C, H, W) to the target, as z = scale x."""
    target = target.to(denoiser.device)

    def solve(rows: slice, latents: Tensor) -> Match:
        start = latents.to(denoiser.device) * scale  # (b, C, H, W)
        return solver.solve(lambda z: denoiser.features(z / scale, sigma), start, target)

    return solve
