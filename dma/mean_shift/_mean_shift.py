"""One picture, whatever the seed: the average by annealed mean shift.

One clean latent m is kept. At each of the first A levels of a falling schedule it is noised K times afresh, and moves
to the mean of the predictions D:

    m_0     = mean_k D(start_scale(sigma_0) eps_k, sigma_0)
    m_i     = mean_k D(add_noise(m_{i-1}, eps_k, sigma_i), sigma_i),   i = 1 ... A - 1
    x       = add_noise(m_{A-1}, s n, sigma_A)
    picture = the plain deterministic ODE from x at sigma_A to 0

By Tweedie's formula E_eps[D(m + sigma eps)] = m + sigma^2 grad log p_sigma, smoothed once more by sigma, at m: a step
of mean shift (Fukunaga and Hostetler 1975; Comaniciu and Meer 2002) in the density that the model knows, annealed from
coarse to fine. There is no gradient, no feature and no layer; the network only sees latents such as it was trained on;
the error of m is known at every level and falls with sqrt(K).

Noises come in pairs, eps and -eps (antithetic variates): whatever is odd in the noise, as the whole of a linear
prediction is, cancels within a pair, and the error is smaller at the same K. (Jia et al., arXiv 2506.06185, find
sampling itself to be nearly odd in its noise.)
"""
from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..diffusion import (
    RESTORED_NOISE_SEED,
    Denoiser,
    NoisePairs,
    add_noise,
    at_step,
    check_falling,
    check_finite,
    salted_seed,
    sampling,
    spread,
    start_scale,
    starting_noise,
)
from ..execution import BatchSize, Clock, Event, Watcher, choose_batch, drive, split_at_multiples
from ..precision import in_double
from ..statistics import LOOK_AFTER
from ._report import MeanShiftReport
from ._settings import MeanShiftSettings
from ._state import MeanShiftState

# Part of the key of every saved run. Raise the number when one of the same settings gives another picture than before.
ALGORITHM = "mean shift 4"


@dataclass(frozen=True)
class Start:
    """A clean latent to start from: m (1, C, H, W), at the step `first` of the schedule."""

    mean: Tensor
    first: int

    @classmethod
    def of(cls, clean: Tensor, first: int, weights: Tensor | None = None) -> Start:
        """The weighted mean of clean latents (N, C, H, W)."""
        rows = in_double(clean)
        weights = torch.ones(len(rows), dtype=torch.float64) if weights is None else in_double(weights)
        if weights.shape != (len(rows),) or not (weights >= 0).all() or not 0 < weights.sum() < math.inf:
            raise ValueError(f"{len(rows)} latents need as many weights, none negative and not all zero, but these are "
                             f"{weights.tolist()}.")
        return cls((torch.tensordot(weights, rows, 1) / weights.sum()).float()[None], first)


@dataclass(frozen=True)
class MeanShift:
    """What `mean_shift` found.

    latents: the finished pictures (keep, C, H, W). mean: m (1, C, H, W), the clean latent that the averaged levels
    ended in. spread: the standard deviation (C, H, W) of the last level's predictions: where looks differ.
    """

    latents: Tensor
    mean: Tensor
    spread: Tensor
    report: MeanShiftReport


def mean_shift(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], settings: MeanShiftSettings, *,
               averaging: Denoiser | None = None, start: Start | None = None, batch: BatchSize | None = None,
               watchers: Sequence[Watcher] = (), state: MeanShiftState | None = None) -> MeanShift:
    """The average of a concept in latents of `shape` (C, H, W) along `sigmas` (S + 1,), falling to 0.

    denoiser: predicts the way to the picture. averaging: predicts in the averaged levels, where less guidance is right
    than in the end, because it is applied again and again; `denoiser` itself if left out. start: a clean latent to go
    on from instead of nothing. The result does not depend on `batch` beyond rounding.

    Raises ValueError for settings that make no sense, for noise levels that do not fall, for a start of another shape,
    and, as NotFiniteError that names the step, where the model predicts NaN or infinity.
    """
    check_falling(sigmas)
    settings.check(len(sigmas) - 1, first=start.first if start else 0)
    if start is not None and tuple(start.mean.shape) != (1, *shape):
        raise ValueError(f"The start has the shape {tuple(start.mean.shape[1:])}, but the average {tuple(shape)}.")
    if state is None:
        state = MeanShiftState(start.mean, start.mean.clone()) if start else MeanShiftState()
    drive(averages(denoiser, averaging or denoiser, sigmas.tolist(), shape, settings, start.first if start else 0,
                   choose_batch(batch, shape), state), state, (Clock(), *watchers))
    report = MeanShiftReport({**asdict(settings), "sigmas": sigmas.tolist(), "first": start.first if start else 0},
                             list(state.records), state.seconds)
    return MeanShift(state.latents, state.mean, state.variance.sqrt(), report)


def averages(denoiser: Denoiser, averaging: Denoiser, sigmas: Sequence[float], shape: tuple[int, ...],
             settings: MeanShiftSettings, first: int, batch: BatchSize,
             state: MeanShiftState) -> Generator[Event, None, None]:
    """The loop of `mean_shift`: works on `state` from where it stands to its end."""
    last = first + settings.averaged_steps
    for step in range(first + len(state.records), last):
        with at_step(step + 1, len(sigmas) - 1):
            yield from take_mean(averaging, sigmas[step], step, shape, settings, batch, state)  # mean of D(m + sigma e)
        state.close_level(sigmas[step])
        yield Event("level", 0.0, closes=True)
    if not state.finished:
        x = add_noise(denoiser.parametrization, state.mean, settings.restored_noise * restored(shape, settings),
                      sigmas[last])
        state.latents = yield from sampling(denoiser, x, sigmas, batch, first=last)
        yield Event("finished", 0.0, closes=True)


def take_mean(averaging: Denoiser, sigma: float, step: int, shape: tuple[int, ...], settings: MeanShiftSettings,
              batch: BatchSize, state: MeanShiftState) -> Generator[Event, None, None]:
    """Predictions of the state's mean, noised afresh, until their mean's error is small enough or all are taken."""
    moments = state.moments
    if moments.is_certain(settings.mean_error):
        return
    task = functools.partial(predicting, sigma=sigma, mean=state.mean, count=settings.count, shape=shape,
                             seed=level_seed(settings.seed, step, given=state.mean is not None))
    for rows, predicted in spread(averaging, batch, settings.count, task, first=moments.count):
        for part in split_at_multiples(rows, LOOK_AFTER):
            moments.update(predicted[part])
            if moments.is_certain(settings.mean_error):
                break
        yield Event("predict", len(predicted), rows.stop, settings.count, value=moments.standard_error,
                    clean=moments.mean.float()[None], changed=True)
        if moments.is_certain(settings.mean_error):
            return


def predicting(averaging: Denoiser, *, sigma: float, mean: Tensor | None, count: int, shape: tuple[int, ...],
               seed: int) -> Callable[[slice], Tensor]:
    """What predicts the clean latents (b, C, H, W) of rows of the mean, noised by `count` noises of a seed, or of noise
    alone where there is no mean yet."""
    noise = NoisePairs(count, shape, seed)

    def predict(rows: slice) -> Tensor:
        eps = noise[rows]
        x = (start_scale(averaging, sigma) * eps if mean is None
             else add_noise(averaging.parametrization, mean, eps, sigma))
        return check_finite(averaging.denoise(x.to(averaging.device), sigma), "Predictions", sigma)

    return predict


def first_predictions(averaging: Denoiser, *, sigma: float, count: int, shape: tuple[int, ...],
                      seed: int) -> Callable[[slice], dict[str, Tensor]]:
    """What gives the rows of the first level's mean: `predictions` of `count` noises of a seed. `PairedMoments` of all
    rows are what `MeanShiftState.of_first_mean` goes on from."""
    predict = predicting(averaging, sigma=sigma, mean=None, count=count, shape=shape, seed=level_seed(seed, 0))
    return lambda rows: {"predictions": predict(rows)}


def level_seed(seed: int, step: int, *, given: bool = False) -> int:
    """The seed of a level's noises. The first level's are those of an ordinary batch with this seed, unless there is a
    mean before it, which is `given`: it may be that of samples of this seed."""
    # Not seed + step, which would give neighbouring seeds the same noises, a level later.
    return salted_seed(seed, f"level {step}") if step or given else seed


def restored(shape: tuple[int, ...], settings: MeanShiftSettings) -> Tensor:
    """The noise (keep, C, H, W) that pictures are finished with."""
    return starting_noise(settings.keep, shape, RESTORED_NOISE_SEED if settings.shared_noise
                          else settings.seed ^ RESTORED_NOISE_SEED)
