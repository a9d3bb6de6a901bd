"""The best of many by a score."""
from __future__ import annotations

from torch import Tensor

from ..rounding import are_equal


def best_of(scores: Tensor, *, lowest: bool = False) -> int:
    """The place of the best of K by their scores (K,): the highest, or the lowest; the first of equals, which differ
    from the best by no more than rounding errors of their own size, whatever the size of the others.

    Best of K is what people do by hand: draw K samples, score each, keep one. Any score will do: how typical each is
    (`statistics.mean_similarity`), the similarity to the prompt, the judgement of a reward model.

    Raises ValueError unless scores are one number for each, at least one, all finite.

    >>> import torch
    >>> best_of(torch.tensor([0.1, 0.7, 0.3])), best_of(torch.tensor([0.1, 0.7, 0.3]), lowest=True)
    (1, 0)
    """
    if scores.ndim != 1 or not len(scores):
        raise ValueError(f"Scores are one number for each, (K,), but these are {tuple(scores.shape)}.")
    if not scores.isfinite().all():
        raise ValueError("Some scores are NaN or infinite: nothing can be the best by them.")
    best = scores.min() if lowest else scores.max()
    return int(are_equal(scores, best, scores).nonzero()[0])
