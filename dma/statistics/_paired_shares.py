"""The change of a share between two looks at the same cases."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ._intervals import wilson_interval


class Change(NamedTuple):
    """A difference of shares, from -1 to 1, and its 95 % interval."""

    difference: float
    low: float
    high: float


def change_of_share(before: Sequence[bool], after: Sequence[bool]) -> Change:
    """How much larger the share of True is in `after` (N,) than in `before` (N,), of which two belong to one case.

    With the Wilson limits l and u of both shares p, after first, and their correlation r over the cases, the interval
    reaches

        sqrt((p1 - l1)^2 - 2 r (p1 - l1)(u2 - p2) + (u2 - p2)^2)   below the difference p1 - p2, and
        sqrt((u1 - p1)^2 - 2 r (u1 - p1)(p2 - l2) + (p2 - l2)^2)   above it.

    Method 10 of R. G. Newcombe, Improved confidence intervals for the difference between binomial proportions based on
    paired data, Statistics in Medicine 17 (1998), 2635: a positive r is made smaller by a correction for continuity,
    and is 0 where a share is 0 or 1. Without correlation it is the interval of two independent shares.

    Raises ValueError for no cases, and for different numbers of them.

    >>> found = change_of_share([False] * 12 + [True] * 38, [True] * 48 + [False] * 2)
    >>> [round(each, 4) for each in found]
    [0.2, 0.0569, 0.3404]
    """
    if not before or len(before) != len(after):
        raise ValueError(f"A change is seen on the same cases, one or more, but these are {len(before)} and "
                         f"{len(after)}.")
    total, both = len(after), sum(map(min, before, after))
    first, second = sum(after), sum(before)
    neither = total - first - second + both
    margins = first * (total - first) * second * (total - second)
    agreement = both * neither - (first - both) * (second - both)
    if agreement > 0:
        agreement = max(0.0, agreement - total / 2)
    correlation = agreement / math.sqrt(margins) if margins else 0.0
    (below, above), (below_before, above_before) = (
        (share - low, high - share) for share, (low, high) in
        ((count / total, wilson_interval(count, total)) for count in (first, second)))
    difference = (first - second) / total
    return Change(difference, max(-1.0, difference - _side(below, above_before, correlation)),
                  min(1.0, difference + _side(above, below_before, correlation)))


def _side(one: float, other: float, correlation: float) -> float:
    # Not below 0 by rounding where both are the same and the correlation is 1.
    return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))
