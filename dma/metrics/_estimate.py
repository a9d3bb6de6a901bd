"""A number with its 95 % interval."""
from __future__ import annotations

import math
from typing import NamedTuple

from ..statistics import RunningMoments, student_quantile


class Estimate(NamedTuple):
    """A measured number and its 95 % interval, whose ends are None where there are too few pictures to know an error.
    """

    value: float
    low: float | None = None
    high: float | None = None


def check_known(value: float, error: float) -> tuple[float, float]:
    """A number and its standard error themselves. Raises ValueError where one is NaN or infinite, which the ends of
    what the number can be would make the best or the worst of all.

    >>> check_known(0.5, float("nan"))
    Traceback (most recent call last):
    ValueError: The number is 0.5 and its error nan: what it is of holds NaN, infinity, or numbers whose squares \
overflow.
    """
    if not (math.isfinite(value) and math.isfinite(error)):
        raise ValueError(f"The number is {value} and its error {error}: what it is of holds NaN, infinity, or numbers "
                         "whose squares overflow.")
    return value, error


def with_error(value: float, error: float, degrees: int, *, least: float = -math.inf,
               most: float = math.inf) -> Estimate:
    """`value` with Student's interval of `degrees` degrees of freedom around a standard error, cut at `least` and
    `most`, the ends of what the number can be. Without degrees of freedom there is no interval.

    Raises ValueError where `check_known` does.

    >>> with_error(0.5, 0.0, 3), with_error(0.5, 0.0, 0).low
    (Estimate(value=0.5, low=0.5, high=0.5), None)
    """
    check_known(value, error if degrees > 0 else 0.0)
    value = min(most, max(least, value))
    if degrees < 1:
        return Estimate(value)
    half = student_quantile(degrees) * error
    return Estimate(value, max(least, value - half), min(most, value + half))


def mean_estimate(moments: RunningMoments, *, least: float = -math.inf, most: float = math.inf) -> Estimate:
    """The mean of numbers of which `moments` saw one for each picture, as rows (B,), with Student's interval around the
    standard error, which for a mean is that of the jackknife. Moments of several machines are merged first.

    Raises ValueError for moments without rows, and where `with_error` does.

    >>> moments = RunningMoments()
    >>> moments.update(torch.tensor([1.0, 2.0])); moments.update(torch.tensor([3.0]))
    >>> found = mean_estimate(moments)
    >>> found.value, round(found.low, 1), round(found.high, 1)
    (2.0, -0.4, 4.4)
    """
    if not moments.count:
        raise ValueError("There are no numbers to take a mean of.")
    if moments.count == 1:
        return with_error(moments.mean.item(), 0.0, 0, least=least, most=most)
    return with_error(moments.mean.item(), math.sqrt(moments.variance.item() / moments.count), moments.count - 1,
                      least=least, most=most)


def ratio_of_means(moments: RunningMoments, reference: RunningMoments) -> Estimate:
    """The mean of one set's numbers, 0 or more, over the mean of another's, r = a / b.

    The error is that of the delta method, r^2 (var a / N a^2 + var b / M b^2), of both sets where both have two or more
    numbers, and of the reference alone where only that has.

    Raises ValueError where one has no numbers or a mean below 0, the reference one that is not above 0, and where
    `with_error` does.

    >>> one, other = RunningMoments(), RunningMoments()
    >>> one.update(torch.tensor([2.0, 2.0, 2.0])); other.update(torch.tensor([4.0, 4.0, 4.0]))
    >>> ratio_of_means(one, other)
    Estimate(value=0.5, low=0.5, high=0.5)
    """
    if not moments.count or not reference.count:
        raise ValueError("There are no numbers to take a mean of.")
    top, bottom = moments.mean.item(), reference.mean.item()
    if not bottom > 0:
        raise ValueError(f"The mean of the reference is {bottom}, so that nothing can be measured relative to it.")
    if top < 0:
        raise ValueError(f"The mean is {top}, but only of numbers of 0 or more is there a ratio.")
    known = [each for each in (moments, reference) if each.count > 1]
    ratio = top / bottom
    # Of a / b by a, 1 / b; by b, -a / b^2.
    slopes = {id(moments): 1 / bottom, id(reference): ratio / bottom}
    variance = sum(each.variance.item() / each.count * slopes[id(each)] ** 2 for each in known)
    return with_error(ratio, math.sqrt(variance), min((each.count - 1 for each in known), default=0), least=0.0)
