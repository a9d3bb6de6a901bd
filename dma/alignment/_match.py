"""Matching: every latent is moved, each alone, until its own features are the target's."""
from __future__ import annotations

from collections.abc import Generator

from ..diffusion import Denoiser, check_finite, paper_scale
from ..execution import BatchSize, Event
from ..solvers import Match
from ._settings import AlignmentSettings
from ._state import State


def match(denoiser: Denoiser, sigma: float, settings: AlignmentSettings, batch: BatchSize,
          state: State) -> Generator[Event, None, None]:
    """x_k <- argmin |H(x) - A|^2  for every latent that has not been matched to the state's target yet."""
    scale = paper_scale(denoiser.parametrization, sigma) if settings.paper_units else 1.0
    target, latents = state.target.to(denoiser.device), state.latents

    def solve(rows: slice) -> Match:
        start = latents[rows].to(denoiser.device) * scale  # (b, C, H, W)
        return settings.solver.solve(lambda z: denoiser.features(z / scale, sigma), start, target)

    for rows, found in batch.over(len(latents), solve, first=state.matched):
        check_finite(found.residual_after, "The features of latents that are matched", sigma)
        state.take_match(rows, found.latents / scale, found)
        residual = state.tally["residual_after"][: rows.stop].mean().item()
        yield Event("match", found.iterations.sum().item(), rows.stop, len(latents), value=residual,
                    changed=True)
    state.close_update()
