"""How unusual a score is among those of references, and a flag whose rate of false alarms is known."""
from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..precision import in_double
from ..rounding import rounded_down


class Calibrated(NamedTuple):
    """Of each of N scores: the share of references that lie below it (N,), in percent, and whether it is flagged (N,).

    threshold: the score of a reference above which a score is flagged that is none of them.
    """

    percentiles: Tensor
    flags: Tensor
    threshold: float


def fewest_references(false_positive_rate: float) -> int:
    """How many references a flag at this rate needs: the smallest R with 1 / (R + 1) <= rate.

    >>> fewest_references(0.05), fewest_references(0.01)
    (19, 99)
    """
    if not 0 < false_positive_rate < 1:
        raise ValueError(f"The false positive rate is {false_positive_rate}: it must lie between 0 and 1.")
    return math.ceil(1 / false_positive_rate - 1e-9) - 1


def against_references(scores: Tensor, references: Tensor, *, false_positive_rate: float,
                       own: Tensor | None = None) -> Calibrated:
    """Scores (N,) beside those of references (R,), of which a large one is unusual.

    A score s is flagged where

        (1 + number of references >= s) / (R + 1) <= false_positive_rate

    which is the test of conformal prediction (Vovk, Gammerman & Shafer 2005): one that is drawn as the references are
    is flagged with at most this probability, whatever the distribution of scores and however few references there are.
    In percentiles a reference of the same score counts half.

    `own` (N, R), bool, says which references a score is the score of, as where samples are judged among themselves.
    They are left out of what it is compared with, and R is the number of the others: with itself among them nothing is
    unusual at a rate below 2 / (R + 1). Of R others fewer than `fewest_references` it is not flagged; without any its
    percentile is 50.

    Raises ValueError for a rate outside 0 ... 1, for fewer references than `fewest_references`, with which nothing
    could be flagged, for scores that are not finite, and for an `own` of another shape.

    >>> found = against_references(torch.tensor([2.5, 9.0]), torch.arange(19.0) / 2, false_positive_rate=0.05)
    >>> [round(value, 1) for value in found.percentiles.tolist()], found.flags.tolist(), found.threshold
    ([28.9, 97.4], [False, False], 9.0)
    >>> against_references(torch.tensor([9.1]), torch.arange(19.0) / 2, false_positive_rate=0.05).flags.tolist()
    [True]
    """
    needed = fewest_references(false_positive_rate)
    for values, name in ((scores, "scores"), (references, "scores of references")):
        if values.ndim != 1:
            raise ValueError(f"The {name} have the shape (N,), but these are {tuple(values.shape)}.")
        if not values.isfinite().all():
            raise ValueError(f"The {name} must be finite, but some are NaN or infinite.")
    if len(references) < needed:
        raise ValueError(f"There are {len(references)} references, with which nothing could be flagged at a false "
                         f"positive rate of {false_positive_rate:g}: that needs {needed}.")
    found, others = in_double(scores), in_double(references)
    compared = torch.ones(len(found), len(others), dtype=torch.bool) if own is None else ~own.bool().cpu()
    if compared.shape != (len(found), len(others)):
        raise ValueError(f"own must say of {len(found)} scores and {len(others)} references which belong together, but "
                         f"has the shape {tuple(compared.shape)}.")
    counts = compared.sum(1)  # (N,)
    below = ((others[None] < found[:, None]) & compared).sum(1)
    same = ((others[None] == found[:, None]) & compared).sum(1)
    at_least = counts - below
    # A score is flagged that has fewer than `allowed` references at or above it.
    allowed = (false_positive_rate * (counts + 1) + 1e-9).floor()
    percentiles = torch.where(counts > 0, 100 * (below + same / 2) / counts.clamp_min(1), 50.0)
    threshold = others.sort().values[-rounded_down(false_positive_rate * (len(others) + 1))].item()
    return Calibrated(percentiles, at_least + 1 <= allowed, threshold)
