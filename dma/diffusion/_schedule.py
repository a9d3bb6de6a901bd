"""Noise levels in order."""
from __future__ import annotations

import torch
from torch import Tensor


def rising(sigmas: Tensor) -> tuple[float, ...]:
    """Noise levels in rising order, from a schedule in either direction.

    Raises ValueError unless there are two or more, finite, not negative and strictly monotone.

    >>> rising(torch.tensor([2.0, 1.0, 0.0]))
    (0.0, 1.0, 2.0)
    """
    if sigmas.ndim != 1 or len(sigmas) < 2 or not torch.isfinite(sigmas).all() or (sigmas < 0).any():
        raise ValueError("An inversion needs two or more noise levels, none of them negative or NaN: connect the "
                         "sigmas of a scheduler with at least one step.")
    levels = sigmas.flip(0) if sigmas[0] > sigmas[-1] else sigmas
    if (levels.diff() <= 0).any():
        raise ValueError("The noise levels do not rise or fall steadily: connect the sigmas of an ordinary scheduler, "
                         "without repeated or restarted levels.")
    return tuple(levels.tolist())
