"""The Fréchet distance between two samples of features, each taken for a Gaussian."""
from __future__ import annotations

import torch
from torch import Tensor

from ._samples import checked_samples


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """FID: the squared Fréchet (2-Wasserstein) distance between the Gaussians with the samples' moments.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) for rows (N, D) and (M, D) with means m and unbiased covariances S
    (Heusel et al. 2017, arXiv 1706.08500), in fp64. 0 or more; 0 for equal moments up to rounding, about 1e-15 of the
    variances. Symmetric, blind to a shift or rotation of both samples, and quadratic in a common scale. N and M may be
    smaller than D. With few rows it comes out too large, the more so the fewer they are (Chong and Forsyth 2020,
    arXiv 1911.07023): compare distances only at equal N and M, or use `kernel_distance`.

    Raises ValueError for samples with fewer than two rows, of different widths, or with values that are not finite.

    >>> square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(frechet_distance(square, square + torch.tensor([3.0, 4.0])), 9)
    25.0
    """
    features, others = checked_samples(features, others)
    first, second = _covariance_factor(features), _covariance_factor(others)  # (R, D) and (Q, D)
    # S1 S2 = A'A B'B has the non-zero eigenvalues of (AB')(AB')', so its root has the singular values of AB' for its
    # trace. Roots of eigenvalues would make 1e-8 of the rounding, 1e-16, in every direction without variance.
    root = torch.linalg.svdvals(first @ second.T).sum()
    between = (features.mean(0) - others.mean(0)).square().sum()
    return (between + first.square().sum() + second.square().sum() - 2 * root).clamp_min(0).item()


def _covariance_factor(rows: Tensor) -> Tensor:
    """A (min(N, D), D) with A'A = S, the unbiased covariance of rows (N, D)."""
    deviations = (rows - rows.mean(0)) / (len(rows) - 1) ** 0.5  # (N, D)
    if len(rows) <= rows.shape[1]:
        return deviations
    return torch.linalg.qr(deviations, mode="r").R  # (D, D)
