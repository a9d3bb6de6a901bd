"""CMMD: the discrepancy of two sets of pictures in the space of a CLIP."""
from __future__ import annotations

import torch
from torch import Tensor

from ._discrepancy import discrepancy
from ._estimate import Estimate
from ._unit import unit_rows

BANDWIDTH, FACTOR = 10.0, 1000.0  # of Jayasumana et al.


def clip_discrepancy(features: Tensor, others: Tensor, *, unbiased: bool = False, ensemble_size: int = 1) -> Estimate:
    """CMMD: 1000 times the squared maximum mean discrepancy of embeddings (N, D) and (M, D), scaled to unit length,
    with the Gaussian kernel exp(-|x - y|^2 / 2 sigma^2), sigma = 10 (Jayasumana et al. 2024, arXiv 2401.09603).

    The paper's estimator counts each picture with itself, which makes it 0 for a set against itself and adds about
    10 (1 - cosine) (1 / N + 1 / M) to the distance of the distributions; `unbiased` leaves these pairs out. The paper's
    embeddings are those of CLIP ViT-L/14 at 336 pixels: numbers of other encoders are not comparable with its. The
    95 % interval is that of the jackknife; the rows are what adds up, and `ensemble_size` means, what they do in
    `kernel_estimate`.

    Raises ValueError for embeddings that are no matrices of one width with two rows or more, with values that are not
    finite, for rows of length 0, and for ensembles as `kernel_estimate` does.

    >>> found = clip_discrepancy(torch.eye(2), -torch.eye(2))
    >>> round(found.value, 3)
    19.801
    """
    rows, reference = unit_rows(features), unit_rows(others, "others")
    if rows.shape[1] != reference.shape[1]:
        raise ValueError(f"Both samples must have the same features in their columns, not {rows.shape[1]} and "
                         f"{reference.shape[1]}.")
    if min(len(rows), len(reference)) < 2:
        raise ValueError(f"Each sample must have at least two rows, not {len(rows)} and {len(reference)}.")
    found = discrepancy(rows, reference, gaussian, unbiased=unbiased, ensemble_size=ensemble_size)
    low, high = (None if each is None else FACTOR * each for each in (found.low, found.high))
    return Estimate(FACTOR * found.value, low, high)


def gaussian(rows: Tensor, others: Tensor) -> Tensor:
    """exp(-|x - y|^2 / 2 sigma^2) - 1 of rows of unit length, for which |x - y|^2 = 2 - 2 x.y.

    Less the 1, which cancels in the discrepancy: near 1 the differences would be lost in rounding.
    """
    return torch.expm1((rows @ others.T - 1) / BANDWIDTH**2)  # (N, M)
