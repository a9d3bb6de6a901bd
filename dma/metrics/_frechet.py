"""The Fréchet distance between two samples of features, each taken for a Gaussian."""
from __future__ import annotations

import torch
from torch import Tensor

from ..statistics import jackknife_error
from ._estimate import Estimate, check_known, with_error
from ._feature_moments import FeatureMoments, GroupedMoments, moments_of
from ._finite import check_finite_values
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
    return frechet_of_moments(*map(moments_of, checked_samples(features, others)))


def frechet_of_moments(first: FeatureMoments, second: FeatureMoments) -> float:
    """`frechet_distance` from moments, wherever and in whatever batches they were taken.

    Raises ValueError for moments of fewer than two rows, of different widths, and of values that are not finite or
    whose squares are not.
    """
    for moments in (first, second):
        if moments.count < 2:
            raise ValueError(f"A spread is estimated from two rows or more, not from {moments.count}.")
    if len(first.mean) != len(second.mean):
        raise ValueError("Both samples must have the same features in their columns, not "
                         f"{len(first.mean)} and {len(second.mean)}.")
    one, other = (_smallest(moments.factor) / (moments.count - 1) ** 0.5 for moments in (first, second))  # (R or Q, D)
    # S1 S2 = A'A B'B has the non-zero eigenvalues of (AB')(AB')', so its root has the singular values of AB' for its
    # trace. Roots of eigenvalues would make 1e-8 of the rounding, 1e-16, in every direction without variance.
    root = torch.linalg.svdvals(check_finite_values(one @ other.T, "The products of both samples")).sum()
    between = (first.mean - second.mean).square().sum()
    found = (between + one.square().sum() + other.square().sum() - 2 * root).clamp_min(0).item()
    return check_known(found, 0.0)[0]


def frechet_estimate(first: GroupedMoments, second: GroupedMoments) -> Estimate:
    """`frechet_distance` with a 95 % interval by the jackknife: Student's, around the error of leaving out each of ten
    groups of either sample.

    The interval says how far other samples of the same sizes would give other numbers. It is not one of the distance
    between the distributions, above which the number lies by about 1 / N. None for fewer than three rows or ensembles.

    Raises ValueError where `frechet_of_moments` does.

    >>> one, other = GroupedMoments(), GroupedMoments()
    >>> one.update(torch.eye(4)); other.update(torch.eye(4) + 3)
    >>> found = frechet_estimate(one, other)
    >>> round(found.value, 6), found.low < 36 < found.high
    (36.0, True)
    """
    whole, others = first.whole(), second.whole()
    value = frechet_of_moments(whole, others)
    if min(first.ensembles, second.ensembles) < 3:
        return Estimate(value)
    replicates = [torch.tensor([frechet_of_moments(left, others) for left in first.without()], dtype=torch.float64),
                  torch.tensor([frechet_of_moments(whole, left) for left in second.without()], dtype=torch.float64)]
    error = torch.stack([jackknife_error(each) for each in replicates]).norm().item()
    return with_error(value, error, min(map(len, replicates)) - 1, least=0.0)


def _smallest(factor: Tensor) -> Tensor:
    """The factor (R, D) with no more than D rows, which singular values cost the cube of."""
    return factor if len(factor) <= factor.shape[1] else torch.linalg.qr(factor, mode="r").R
