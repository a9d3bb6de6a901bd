"""The distance between two samples of features by a kernel, without the assumption of a Gaussian."""
from __future__ import annotations

import math

from torch import Tensor

from ._samples import checked_samples

# Rows of a kernel matrix at a time: 400 MB against 50 000 others.
ROWS = 1024


def kernel_distance(features: Tensor, others: Tensor, *, scale: float | None = None) -> float:
    """KID: the unbiased squared maximum mean discrepancy with a cubic kernel.

    E k(x, x') + E k(y, y') - 2 E k(x, y) for rows x (N, D) and y (M, D), over pairs of different rows within a sample
    and all pairs between the two, with k(x, y) = (scale x.y + 1)^3 (Binkowski et al. 2018, arXiv 1801.01401), in fp64.
    `scale` is 1 / D as in the paper unless given; 1 suits features of unit length, whose kernel is then
    (1 + cosine)^3. Its expectation is the distance of the distributions at any N and M, and 0 for one and the same.
    A single value may be below 0, and is for a sample against itself, whose pairs of equal rows count between
    the samples but not within. All rows are used at once; the paper's averages over subsets estimate the same number.

    Raises ValueError for samples with fewer than two rows, of different widths, or with values that are not finite,
    and for a scale that is not finite and above 0.

    >>> kernel_distance(torch.tensor([[1.0], [1.0]]), torch.tensor([[-1.0], [-1.0]]))
    16.0
    """
    features, others = checked_samples(features, others)
    if scale is None:
        scale = 1 / features.shape[1]
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"The kernel's scale must be a finite number above 0, not {scale}.")
    between = _kernel_sum(features, others, scale) / (len(features) * len(others))
    return _mean_within(features, scale) + _mean_within(others, scale) - 2 * between


def _mean_within(rows: Tensor, scale: float) -> float:
    """The mean kernel of two different rows of (N, D)."""
    with_themselves = (1 + scale * rows.square().sum(1)).pow(3).sum().item()
    return (_kernel_sum(rows, rows, scale) - with_themselves) / (len(rows) * (len(rows) - 1))


def _kernel_sum(features: Tensor, others: Tensor, scale: float) -> float:
    """The sum of the kernel over all pairs of (N, D) and (M, D)."""
    return sum((1 + scale * chunk @ others.T).pow(3).sum().item() for chunk in features.split(ROWS))  # (ROWS, M)
