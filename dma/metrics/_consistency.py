"""Consistency: how far averages of one thing are apart, from ensemble to ensemble and within one."""
from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..statistics import RunningMoments, mean_product
from ._estimate import Estimate, mean_estimate, with_error
from ._unit import unit_rows


@dataclass
class EnsembleSums:
    """Number and sum of the unit-length features of each ensemble's pictures: all that consistency takes.

    An ensemble is whatever one run gives, by a name: a seed, a repetition. Its pictures may come in several batches,
    and from several machines.

    >>> sums, other = EnsembleSums(), EnsembleSums()
    >>> sums.update(torch.eye(2), ["first", "second"]); other.update(torch.tensor([[1.0, 1.0]]), ["first"])
    >>> sums.merge(other)
    >>> sums.counts
    {'first': 2, 'second': 1}
    """

    counts: dict[Hashable, int] = field(default_factory=dict)
    sums: dict[Hashable, Tensor] = field(default_factory=dict)  # (D,) each

    def update(self, features: Tensor, ensembles: Sequence[Hashable]) -> None:
        """Add pictures' features (B, D), each of the ensemble that is named. Raises ValueError for other numbers of
        names and rows, and where `unit_rows` does."""
        rows = unit_rows(features)
        if len(ensembles) != len(rows):
            raise ValueError(f"There are {len(rows)} rows of features, but {len(ensembles)} names of ensembles.")
        for row, name in zip(rows, ensembles):
            self.counts[name] = self.counts.get(name, 0) + 1
            self.sums[name] = self.sums[name] + row if name in self.sums else row

    def merge(self, other: EnsembleSums) -> None:
        """Add the pictures that another has seen; those of one name belong to one ensemble."""
        for name, count in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
            self.sums[name] = self.sums[name] + other.sums[name] if name in self.sums else other.sums[name]


def consistency(features: Tensor) -> Estimate:
    """The mean distance 1 - cos over all pairs of features (N, D), of one average from each of N ensembles: 0 if they
    are the same picture, 2 at most. Of the samples of one prompt it is their diversity.

    This is the consistency of arXiv 2603.29239 as we read it (the paper gives no equation). The 95 % interval is
    Student's around the error by the jackknife, which leaves out one ensemble at a time; None for two.

    Raises ValueError for fewer than two rows, and where `unit_rows` does.

    >>> found = consistency(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]))
    >>> round(found.value, 4)
    0.5286
    """
    rows = unit_rows(features)
    if len(rows) < 2:
        raise ValueError("Consistency is known from two ensembles or more, but there is one.")
    return _between(rows)


def pairwise_distance(features: Tensor) -> float:
    """Mean of 1 - cosine over all pairs of rows (N, D): the value of `consistency` alone. NaN for a single row."""
    return consistency(features).value if len(features) > 1 else math.nan


def consistency_between(ensembles: EnsembleSums) -> Estimate:
    """The mean distance 1 - cos of two pictures of two different ensembles, all pairs of ensembles counted alike.

    With one picture from each it is `consistency`. The error leaves out one ensemble at a time.

    Raises ValueError for fewer than two ensembles.

    >>> sums = EnsembleSums(); sums.update(torch.eye(4), [0, 0, 1, 1])
    >>> consistency_between(sums)
    Estimate(value=1.0, low=None, high=None)
    """
    if len(ensembles.counts) < 2:
        raise ValueError("Consistency between ensembles is known from two ensembles or more, but there are "
                         f"{len(ensembles.counts)}.")
    return _between(torch.stack([ensembles.sums[name] / count for name, count in ensembles.counts.items()]))


def consistency_within(ensembles: EnsembleSums) -> Estimate:
    """The mean distance 1 - cos of two different pictures of one ensemble, all ensembles with two or more pictures
    counted alike. The interval is Student's over these ensembles; None for a single one.

    Raises ValueError where no ensemble has two pictures.

    >>> sums = EnsembleSums(); sums.update(torch.eye(3)[[0, 0, 1, 2]], [0, 0, 1, 1])
    >>> consistency_within(sums).value
    0.5
    """
    found = []
    for name, count in ensembles.counts.items():
        if count > 1:
            pairs = ensembles.sums[name].square().sum() - count  # each twice
            found.append(1 - pairs / (count * (count - 1)))
    if not found:
        raise ValueError("Consistency within ensembles is known from an ensemble with two pictures or more.")
    moments = RunningMoments()
    moments.update(torch.stack(found))
    return mean_estimate(moments, least=0.0, most=2.0)


def _between(means: Tensor) -> Estimate:
    """1 minus the mean product of two different rows (R, D), with its error by the jackknife."""
    product, error = mean_product(means)
    return with_error(1 - product, error, len(means) - 1 if len(means) > 2 else 0, least=0.0, most=2.0)
