"""How typical each of many is, and the best of many by a score."""
from __future__ import annotations

import torch
from torch import Tensor

from ..statistics import rows_in_double


def typicality(features: Tensor) -> Tensor:
    """The mean cosine similarity of each row of (K, ...) to all others, (K,) in fp64: 1 minus its mean distance.

    The most typical row is the `medoid`. Of a single row there is nothing else to compare it with: 0. A row of zeros
    has similarity 0 to everything.

    The sum of a row's similarities is its inner product with the sum of all unit rows, so that two passes over the rows
    are enough, some of them at a time.

    >>> typicality(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    tensor([0.3536, 0.7071, 0.3536], dtype=torch.float64)
    """
    def unit_rows(rows: Tensor) -> Tensor:
        return torch.nn.functional.normalize(rows.flatten(1), dim=1)  # (B, F)

    total = torch.stack([unit_rows(rows).sum(0) for rows in rows_in_double(features)]).sum(0)  # (F,)
    summed = []
    for rows in rows_in_double(features):
        unit = unit_rows(rows)
        summed.append(unit @ total - unit.square().sum(1))
    return torch.cat(summed) / max(1, len(features) - 1)


def best_of(scores: Tensor, *, lowest: bool = False) -> int:
    """The place of the best of K by their scores (K,): the highest, or the lowest; the first of equals.

    Best of K is what people do by hand: draw K samples, score each, keep one. Any score will do, such as `typicality`,
    the similarity to the prompt, or the judgement of a reward model.

    Raises ValueError unless scores are one number for each, at least one, all finite.

    >>> best_of(torch.tensor([0.1, 0.7, 0.3])), best_of(torch.tensor([0.1, 0.7, 0.3]), lowest=True)
    (1, 0)
    """
    if scores.ndim != 1 or not len(scores):
        raise ValueError(f"Scores are one number for each, (K,), but these are {tuple(scores.shape)}.")
    if not scores.isfinite().all():
        raise ValueError("Some scores are NaN or infinite: nothing can be the best by them.")
    return int(scores.argmin() if lowest else scores.argmax())
