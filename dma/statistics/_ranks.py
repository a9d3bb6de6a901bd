"""How well one number tells two groups apart, by ranks."""
from __future__ import annotations

import torch
from torch import Tensor

from ..precision import in_double


def auroc(positive: Tensor, negative: Tensor) -> float:
    """The area under the ROC curve of scores (N,) of positives against those (M,) of negatives: the share of pairs in
    which the positive one is higher, where equal ones count half (the Mann-Whitney statistic over N M). 0.5 is chance.

    Raises ValueError for other shapes, for an empty group, and for scores that are NaN.

    >>> auroc(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 2.0]))
    0.875
    """
    groups = [in_double(values) for values in (positive, negative)]
    if any(values.ndim != 1 or not len(values) or bool(values.isnan().any()) for values in groups):
        raise ValueError("Scores have the shape (N,), with at least one in each group, and none is NaN.")
    scores = torch.cat(groups)
    _, places, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0) - (counts - 1) / 2  # the mean rank of equal scores, counted from 1
    first, second = map(len, groups)
    above = float(ranks[places[:first]].sum()) - first * (first + 1) / 2
    return above / (first * second)
