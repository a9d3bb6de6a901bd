"""Diversity at an equal loss of recognition, for typicality.py."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DRAWS = 2000


class Measured(NamedTuple):
    """Of one way and concept."""

    diversity: float
    distance: float  # to the average
    recognised: float
    sharpness: float


def diversity_at(found: Sequence[dict], ways: Sequence, loss: float) -> float:
    """The mean diversity over concepts, along ways in the order of their amounts, where the mean recognised share has
    first fallen by `loss` from that of the first; between two ways by a straight line, and that of the last where it
    never falls so far."""
    curve = np.array([[[each[way].recognised, each[way].diversity] for way in ways] for each in found]).mean(0)
    return crossing(curve, curve[0, 0] - loss)


def crossing(curve: np.ndarray, level: float) -> float:
    """The second column of points (N, 2) where the first has first fallen to a level."""
    for (above, before), (below, after) in zip(curve[:-1], curve[1:]):
        if below <= level < above:
            return float(before + (above - level) / (above - below) * (after - before))
    return float(curve[-1, 1])


def gain(found: Sequence[dict], ways: Sequence, others: Sequence, loss: float) -> tuple[float, float, float]:
    """The diversity along `ways` over that along `others` at an equal loss, and its 95 % bootstrap interval over
    concepts."""
    generator = np.random.default_rng(0)

    def ratio(rows: Sequence[dict]) -> float:
        return diversity_at(rows, ways, loss) / diversity_at(rows, others, loss)

    drawn = [ratio([found[index] for index in generator.integers(0, len(found), len(found))]) for _ in range(DRAWS)]
    return ratio(found), float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))
