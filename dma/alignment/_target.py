"""The target of an aligned step: the mean of the features H over the trajectories, and its standard error."""
from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from ..diffusion import Denoiser, paper_scale
from ..execution import BatchSize, Event, split_at_multiples
from ..models import features_of, read_features
from ..statistics import LOOK_AFTER, RunningMoments
from ._settings import AlignmentSettings
from ._start import Start
from ._state import State, spread_and_norm

Events = Generator[Event, None, None]


def take_mean(denoiser: Denoiser, sigma: float, start: Start, settings: AlignmentSettings, batch: BatchSize,
              state: State) -> Events:
    """A = mean of H(x_k): over all K latents at first, later over those that are carried on. Nothing if A is there."""
    if state.target is not None:
        return
    if state.latents is None:
        features = yield from _of_all(denoiser, sigma, start, settings, batch, state)
    else:
        features = yield from _of_moving(denoiser, sigma, batch, state)
    state.take_target(features.mean.float(), features.standard_error if features.effective_count > 1 else 0.0)
    # The relative squared distance of the latents' features from A, which is what matching starts from.
    apart = features.deviations.sum().item() / features.weight / max(1e-30, features.mean.square().sum().item())
    # The first mean is the longest work that is not saved in parts, and nothing is to be seen before it.
    yield Event("target", 0.0, value=apart, changed=True, closes=state.step == state.update == 0)


def _of_all(denoiser: Denoiser, sigma: float, start: Start, settings: AlignmentSettings, batch: BatchSize,
            state: State) -> Generator[Event, None, RunningMoments]:
    """Draw latents, each needed only for its features, until the error of their mean is small enough or all are drawn.

    Those that are carried on are then drawn again:  x <- m + own_noise (x - m)  with m the mean of all that were drawn.
    """
    latents = start.rows(denoiser, sigma)
    features, drawn = RunningMoments(), RunningMoments()

    def measure(rows: slice) -> tuple[Tensor, Tensor]:
        found = latents[rows]
        return found, features_of(denoiser, found, sigma)

    def enough() -> bool:
        return drawn.count >= max(settings.keep, settings.carried) and features.is_certain(settings.mean_error)

    for rows, (found, values) in batch.over(settings.count, measure):
        for part in split_at_multiples(rows, LOOK_AFTER):
            weights = start.weights_of(slice(rows.start + part.start, rows.start + part.stop))
            features.update(values[part], weights)
            drawn.update(found[part], weights)
            if enough():
                break
        yield Event("mean", len(found), rows.stop, settings.count, value=features.standard_error)
        if enough():
            break
    own = start.first(denoiser, sigma, start.moving(settings, drawn.count))
    state.latents = torch.lerp(drawn.mean.float(), own, settings.own_noise)  # exact at 0 and 1
    state.count = drawn.count
    state.initial_spread, _ = spread_and_norm(drawn, paper_scale(denoiser.parametrization, sigma))
    return features


def _of_moving(denoiser: Denoiser, sigma: float, batch: BatchSize,
               state: State) -> Generator[Event, None, RunningMoments]:
    features = RunningMoments()
    for rows, found in read_features(denoiser, state.latents, sigma, batch=batch):
        features.update(found)
        yield Event("mean", rows.stop - rows.start, rows.stop, len(state.latents))
    return features
