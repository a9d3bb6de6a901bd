"""Scores of single pictures: the best first, and as a table."""
from __future__ import annotations

from torch import Tensor

from ..choices import check_choice
from ..precision import in_double
from ._finite import check_finite_values
from ._measure_table import HIGHER, Measure, MeasureTable

SHARPNESS, ABSOLUTE = "sharpness", "variance of the Laplacian"  # of sets it is relative to a reference's
DIGITS = 12  # of the largest score, beyond which scores are equal
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
    # Rounded, so that equal pictures keep their order whatever the last bit says.
    values = in_double(values)
    scale = values.abs().max().item() if len(values) else 0.0
    return (values / (scale or 1.0)).round(decimals=DIGITS).argsort(descending=True, stable=True).tolist()


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
