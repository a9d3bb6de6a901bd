"""Noise levels in order."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._parametrization import Parametrization

ROUNDING = 1e-3  # above the highest level of a flow model, of schedules in half precision
SHOWN = 8  # noise levels in a message


def rising(sigmas: Tensor) -> tuple[float, ...]:
    """Noise levels in rising order, from a schedule in either direction.

    Raises ValueError unless there are two or more, finite, not negative and strictly monotone.

    >>> rising(torch.tensor([2.0, 1.0, 0.0]))
    (0.0, 1.0, 2.0)
    """
    if sigmas.ndim != 1 or len(sigmas) < 2 or not torch.isfinite(sigmas).all() or (sigmas < 0).any():
        raise ValueError("A schedule has two or more noise levels, none of them negative or NaN, but these are "
                         f"{_shown(sigmas)}.")
    levels = sigmas.flip(0) if sigmas[0] > sigmas[-1] else sigmas
    if (levels.diff() <= 0).any():
        raise ValueError(f"The noise levels do not rise or fall steadily, but are {_shown(sigmas)}.")
    return tuple(levels.tolist())


def falling(sigmas: Tensor) -> Tensor:
    """A schedule (S + 1,), which always falls, from noise levels in either direction.

    Raises ValueError unless there are two or more, finite, not negative and strictly monotone.

    >>> falling(torch.tensor([0.0, 1.0, 2.0]))
    tensor([2., 1., 0.])
    """
    return torch.tensor(rising(sigmas)).flip(0)


def distinct_levels(sigmas: Tensor) -> Tensor:
    """Noise levels without those that repeat the one before: a step between equal levels is none.

    Schedulers repeat levels where a model has fewer of them than steps are asked for, as distilled models have.

    >>> distinct_levels(torch.tensor([2.0, 1.0, 1.0, 0.0]))
    tensor([2., 1., 0.])
    """
    return sigmas.unique_consecutive() if sigmas.ndim == 1 else sigmas


def check_falling(sigmas: Tensor) -> None:
    """Raise ValueError unless noise levels (S + 1,) are a schedule: two or more, finite, not negative, each below the
    one before.

    >>> check_falling(torch.tensor([2.0, 1.0, 0.0]))
    """
    if rising(sigmas)[0] == sigmas[0]:
        raise ValueError(f"A schedule falls, but these noise levels rise: {_shown(sigmas)}.")


def check_levels(sigmas: Tensor, parametrization: Parametrization) -> None:
    """Raise ValueError for noise levels (S + 1,) that no model of this prediction has: above 1, where flow ends.

    >>> check_levels(torch.tensor([14.6, 1.0, 0.0]), Parametrization.EPS)
    """
    if parametrization is Parametrization.FLOW and (sigmas > 1 + ROUNDING).any():
        raise ValueError(f"The noise levels of a flow model lie between 0 and 1, but these are {_shown(sigmas)}: they "
                         "belong to another model.")


def _shown(sigmas: Tensor) -> str:
    if sigmas.ndim != 1:
        return f"a tensor of the shape {tuple(sigmas.shape)}"
    shown = [f"{level:.4g}" for level in sigmas[:SHOWN].tolist()]
    return ", ".join(shown + ["..."] * (len(sigmas) > SHOWN)) or "none"


def steps_at(shares: Sequence[float], steps: int) -> tuple[int, ...]:
    """The steps of a schedule, counted from 0, that lie nearest to shares of it, in order and each once.

    Raises ValueError unless every share is from 0 (the start) to below 1.

    >>> steps_at([0.5, 0.0, 0.52], 10)
    (0, 5)
    """
    if not all(0 <= share < 1 for share in shares):
        raise ValueError(f"Shares of a schedule go from 0 to below 1, but they are {', '.join(map(str, shares))}.")
    return tuple(sorted({min(round(share * steps), steps - 1) for share in shares}))
