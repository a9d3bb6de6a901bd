"""The target of an aligned step: the mean of the features H over the trajectories, and its standard error."""
from __future__ import annotations

import functools
from collections.abc import Callable, Generator

import torch
from torch import Tensor

from ..diffusion import Denoiser, paper_scale, spread
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
    # Nothing is to be seen before the first mean.
    yield Event("target", 0.0, value=apart, changed=True, closes=state.step == state.update == 0)


def _of_all(denoiser: Denoiser, sigma: float, start: Start, settings: AlignmentSettings, batch: BatchSize,
            state: State) -> Generator[Event, None, RunningMoments]:
    """Draw latents, each needed only for its features, until the error of their mean is small enough or all are drawn.
    """
    features, drawn = state.features, state.drawn

    def enough() -> bool:
        return drawn.count >= max(settings.keep, settings.carried) and features.is_certain(settings.mean_error)

    if not enough():
        task = functools.partial(measuring, sigma=sigma, start=start)
        for rows, parts in spread(denoiser, batch, settings.count, task, first=drawn.count):
            for of_features, of_latents in parts:
                features.merge(of_features)
                drawn.merge(of_latents)
                if enough():
                    break
            yield Event("mean", rows.stop - rows.start, rows.stop, settings.count, value=features.standard_error,
                        changed=True)
            if enough():
                break
    take_first_mean(denoiser, sigma, start, settings, state)
    return features


def measuring(denoiser: Denoiser, *, sigma: float,
              start: Start) -> Callable[[slice], list[tuple[RunningMoments, RunningMoments]]]:
    """What takes moments of the features of rows that an alignment starts from, and of these latents themselves; where
    it may be asked whether they are enough, a new part begins."""
    latents = start.rows(denoiser, sigma)

    def measure(rows: slice) -> list[tuple[RunningMoments, RunningMoments]]:
        found = latents[rows]
        values = features_of(denoiser, found, sigma)
        parts = []
        for part in split_at_multiples(rows, LOOK_AFTER):
            weights = start.weights_of(slice(rows.start + part.start, rows.start + part.stop))
            parts.append((RunningMoments.of(values[part], weights), RunningMoments.of(found[part], weights)))
        return parts

    return measure


def first_features(denoiser: Denoiser, *, sigma: float, start: Start) -> Callable[[slice], dict[str, Tensor]]:
    """What gives the rows of the first mean: the `features` of latents that an alignment starts from, and these
    `latents` x. Moments of both, of all rows, are what `State.of_first_mean` goes on from. Raises ValueError for rows
    with weights."""
    latents = start.rows(denoiser, sigma)

    def values(rows: slice) -> dict[str, Tensor]:
        weights = start.weights_of(rows)
        if weights is not None and bool((weights != 1).any()):
            raise ValueError("Latents of these rows count more or less than once in their mean, which moments of plain "
                             "rows leave out: align them in one piece.")
        found = latents[rows]
        return {"features": features_of(denoiser, found, sigma), "latents": found}

    return values


def take_first_mean(denoiser: Denoiser, sigma: float, start: Start, settings: AlignmentSettings, state: State) -> None:
    """The moments of all latents of the first mean are in the state. Those that are carried on are then drawn again:

        x <- m + own_noise (x - m)   with m the mean of all that were drawn.
    """
    drawn = state.drawn
    own = start.first(denoiser, sigma, start.moving(settings, drawn.count))
    state.latents = torch.lerp(drawn.mean.float(), own, settings.own_noise)  # exact at 0 and 1
    state.count = drawn.count
    state.initial_spread, _ = spread_and_norm(drawn, paper_scale(denoiser.parametrization, sigma))


def _of_moving(denoiser: Denoiser, sigma: float, batch: BatchSize,
               state: State) -> Generator[Event, None, RunningMoments]:
    features = RunningMoments()
    for rows, found in read_features(denoiser, state.latents, sigma, batch=batch):
        features.update(found)
        yield Event("mean", rows.stop - rows.start, rows.stop, len(state.latents))
    return features
