"""Scores of single pictures: the best first, and as a table."""
from __future__ import annotations

import torch
from torch import Tensor

from ..choices import check_choice
from ..precision import in_double
from ..rounding import are_equal
from ._finite import check_finite_values
from ._measure_table import HIGHER, Measure, MeasureTable

SHARPNESS, ABSOLUTE = "sharpness", "variance of the Laplacian"  # of sets it is relative to a reference's
BESIDE_OTHERS = "beside the other pictures"  # the note of typicality without a reference


def ranked(scores: dict[str, Tensor], chosen: str) -> list[int]:
    """The places of N pictures, from 0, with the highest of the `chosen` scores (N,) first; those that are equal up to
    rounding in their order.

    Raises ValueError for a score that there is not, and for values that are not finite.

    >>> ranked({"CLIP-T": torch.tensor([0.1, 0.3, 0.2])}, "CLIP-T")
    [1, 2, 0]
    """
    check_choice(chosen, list(scores), "score")
    values = scores[chosen]
    check_finite_values(values, f"The pictures' {chosen}")
    rising, order = in_double(values).sort()
    # One rank, so that equal pictures keep their order whatever the last bit says.
    ranks = torch.zeros_like(order)
    ranks[order[1:]] = (~are_equal(rising[1:], rising[:-1], rising)).cumsum(0)
    return ranks.argsort(descending=True, stable=True).tolist()


def score_table(scores: dict[str, Tensor], order: list[int], settings: dict, *, beside: str = "") -> MeasureTable:
    """A row for each picture, in `order`, and score. Pictures are called by their number, from 1. `beside` is what
    typicality was measured beside.

    Raises ValueError for scores that are NaN or infinite.

    >>> score_table({"sharpness": torch.tensor([2.0, 3.0])}, [1, 0], {}).subjects()
    ['picture 2', 'picture 1']
    """
    for name, values in scores.items():
        check_finite_values(values, f"The pictures' {name}")
    notes = {SHARPNESS: ABSOLUTE, "typicality": beside}
    return MeasureTable(settings, [
        Measure(f"picture {place + 1}", name, float(values[place]), better=HIGHER, count=1, note=notes.get(name, ""))
        for place in order for name, values in scores.items()])
