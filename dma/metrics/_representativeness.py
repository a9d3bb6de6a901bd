"""Representativeness: how far averages are from the pictures that they stand for."""
from __future__ import annotations

import math

import torch
from torch import Tensor

from ..statistics import blocks
from ._ensembles import ensemble_means
from ._estimate import Estimate, with_error
from ._feature_moments import FeatureMoments, moments_of
from ._unit import unit_pair

TINY = 1e-12


def representativeness(features: Tensor, reference: Tensor, *, own: Tensor | None = None,
                       ensemble_size: int = 1) -> Estimate:
    """The mean distance 1 - cos from averages (R, D) to each picture of a reference (N, D), from 0 to 2.

    This is the representativeness of arXiv 2603.29239 as we read it (the paper gives no equation). `own` (R, N), bool,
    says which pictures of the reference an average was made of, or is: they are left out of what it is compared with,
    which would otherwise favour a method that picks one of its samples. The 95 % interval is Student's around the
    jackknife's error, of the averages where there are two ensembles or more, `ensemble_size` averages after one another
    in each, and of the reference. An average and its own pictures are not independent of each other: what leaving out
    either moves the mean by goes together, and the variance of the sum has twice their product, without which the
    interval of samples among themselves would be too narrow by the square root of 2.

    Raises ValueError where `unit_rows` does, for features of different widths, for an `own` of another shape, and
    where it leaves an average no picture, and for averages that cannot be divided into ensembles.

    >>> reference = torch.eye(3)
    >>> round(representativeness(reference[:1], reference).value, 4)
    0.6667
    >>> representativeness(reference[:1], reference, own=torch.tensor([[True, False, False]])).value
    1.0
    """
    rows, others = unit_pair(features, reference)
    if own is None:
        return representativeness_of_moments(moments_of(ensemble_means(rows, ensemble_size)), moments_of(others))
    own = _checked_own(own, rows, others)
    return _beside(*_distances(rows, others, own), own, ensemble_size)


def _checked_own(own: Tensor, rows: Tensor, others: Tensor) -> Tensor:
    if own.shape != (len(rows), len(others)):
        raise ValueError(f"own must say of {len(rows)} averages and {len(others)} pictures which belong together, but "
                         f"has the shape {tuple(own.shape)}.")
    own = own.bool().cpu()
    if own.all(1).any():
        raise ValueError("An average has no picture of the reference to be compared with that it was not made of.")
    return own


def _beside(distances: Tensor, without: Tensor | None, own: Tensor, ensemble_size: int) -> Estimate:
    """The mean of averages' distances (R,) to a reference without their own pictures `own` (R, N), with its error:
    `without` (N,) is the mean without each picture of the reference."""
    ensembles, pictures = ensemble_means(distances, ensemble_size), own.shape[1]
    # What each ensemble and each picture moves the mean by, (R or R / size,) and (N,), of which the squares add up to
    # those of the errors.
    moved = [(ensembles - ensembles.mean()) / math.sqrt(len(ensembles) * (len(ensembles) - 1))] * (len(ensembles) > 1)
    if without is not None:
        moved.append((without.mean() - without) * math.sqrt((pictures - 1) / pictures))
    variance = sum(each.square().sum().item() for each in moved)
    if len(moved) == 2:
        shared = 0.0
        for part in blocks(len(ensembles), ensemble_size * pictures):
            belong = own.unflatten(0, (-1, ensemble_size))[part].any(1).to(distances.dtype)  # (B, N)
            shared += (moved[0][part] @ belong @ moved[1]).item()
        variance += 2 * min(max(0.0, shared), math.prod(each.norm().item() for each in moved))
    return with_error(distances.mean().item(), math.sqrt(variance), min((len(each) - 1 for each in moved), default=0),
                      least=0.0, most=2.0)


def _distances(rows: Tensor, others: Tensor, own: Tensor) -> tuple[Tensor, Tensor | None]:
    """The mean distance (R,) of each average (R, D) to the pictures (N, D) that are not its own, and the mean over
    averages of it without each picture (N,), None where an average has but one."""
    counts = len(others) - own.sum(1)  # (R,)
    found, without = [], torch.zeros(len(others), dtype=rows.dtype)
    for part in blocks(len(rows), len(others)):
        compared = (~own[part]).to(rows.dtype)  # (B, N)
        cosines, count = (rows[part] @ others.T) * compared, counts[part, None]
        sums = cosines.sum(1, keepdim=True)
        found.append(1 - (sums / count).squeeze(1))
        if counts.min() > 1:
            without += (1 - (sums - cosines) / (count - compared)).sum(0) / len(rows)
    return torch.cat(found), without if counts.min() > 1 else None


def _distances_to_means(rows: Tensor, others: Tensor, own: Tensor) -> tuple[Tensor, Tensor | None]:
    """As `_distances`, but to the mean of the pictures that are not an average's own."""
    several, total = bool((len(others) - own.sum(1)).min() > 1), others.sum(0)  # (D,)
    found, without = [], torch.zeros(len(others), dtype=rows.dtype)
    for part in blocks(len(rows), len(others)):
        averages = rows[part]  # (B, D)
        sums = total - own[part].to(rows.dtype) @ others  # (B, D)
        along, squared = (averages * sums).sum(1, keepdim=True), sums.square().sum(1, keepdim=True)  # (B, 1)
        check_length(squared.min().sqrt() / len(others))
        distances = 1 - along / squared.sqrt()
        found.append(distances.squeeze(1))
        if several:
            # |sum - x|^2 of unit rows x.
            lengths = (squared - 2 * sums @ others.T + 1).clamp_min(TINY).sqrt()  # (B, N)
            each = 1 - (along - averages @ others.T) / lengths
            without += torch.where(own[part], distances, each).sum(0) / len(rows)
    return torch.cat(found), without if several else None


def representativeness_of_moments(averages: FeatureMoments, reference: FeatureMoments) -> Estimate:
    """`representativeness` from the moments of unit-length features, 1 - m'm', wherever they were taken.

    Pictures that an average was made of are left out by keeping them from the reference's moments. Where averages come
    in ensembles, these are the moments of the ensembles' means.

    >>> representativeness_of_moments(moments_of(torch.eye(2)[:1]), moments_of(torch.eye(2))).value
    0.5
    """
    value = 1 - (averages.mean @ reference.mean).item()
    variance = averages.variance_of_mean(reference.mean) + reference.variance_of_mean(averages.mean)
    return with_error(value, math.sqrt(variance), _degrees(averages, reference), least=0.0, most=2.0)


def distance_to_mean(features: Tensor, reference: Tensor, *, own: Tensor | None = None,
                     ensemble_size: int = 1) -> Estimate:
    """The mean distance 1 - cos from pictures (R, D) to the mean m of a reference's unit-length features (N, D).

    The CLIP distance to a class of Landolsi and Kahl, "Addressing degeneracies in latent interpolation for diffusion
    models", where the features are a CLIP's. Below `representativeness`, since the mean of pictures has less of each
    of them. The 95 % interval is Student's around the error of both sets, that of the reference by the delta method;
    `ensemble_size` pictures after one another come from one ensemble, and count as one. `own` (R, N) is that of
    `representativeness`: with it each picture is compared with the mean of the others, and the interval found as there.

    Raises ValueError where `representativeness` does, and for a reference whose mean is 0.

    >>> round(distance_to_mean(torch.eye(2)[:1], torch.eye(2)).value, 4)
    0.2929
    """
    rows, others = unit_pair(features, reference)
    if own is None:
        return distance_to_mean_of_moments(moments_of(ensemble_means(rows, ensemble_size)), moments_of(others))
    own = _checked_own(own, rows, others)
    return _beside(*_distances_to_means(rows, others, own), own, ensemble_size)


def distance_to_mean_of_moments(pictures: FeatureMoments, reference: FeatureMoments) -> Estimate:
    """`distance_to_mean` from the moments of unit-length features, or of their means over ensembles, wherever they were
    taken."""
    length = reference.mean.norm()
    check_length(length)
    direction = reference.mean / length
    cosine = pictures.mean @ direction
    slope = (pictures.mean - cosine * direction) / length  # of the cosine by the reference's mean
    variance = pictures.variance_of_mean(direction) + reference.variance_of_mean(slope)
    return with_error(1 - cosine.item(), math.sqrt(variance), _degrees(pictures, reference), least=0.0, most=2.0)


def check_length(length: Tensor) -> None:
    """Raise ValueError for the mean of unit rows that is as good as 0."""
    if length.item() < TINY:
        raise ValueError("The mean of the reference's features is 0, and has no direction.")


def _degrees(first: FeatureMoments, second: FeatureMoments) -> int:
    return min((each.count - 1 for each in (first, second) if each.count > 1), default=0)
