"""Mean and covariance of features, batch by batch, as sums that add up."""
from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..precision import in_double
from ._finite import check_finite_values

GROUPS = 10


@dataclass
class FeatureMoments:
    """Count, mean m and a factor F of the summed squared deviations, F'F = sum (x - m)(x - m)', of rows (N, D) in fp64.

    Moments of batches, runs and machines merge into those of all rows, up to rounding. The factor has at most 2 D
    rows, and fewer where there were fewer pictures, so that few pictures with many features take little memory; nothing
    is squared before it is needed, so that directions without variance stay so up to rounding.

    >>> moments, other = FeatureMoments(), FeatureMoments()
    >>> moments.update(torch.tensor([[0.0, 0.0], [2.0, 0.0]])); other.update(torch.tensor([[4.0, 3.0]]))
    >>> moments.merge(other)
    >>> moments.count, moments.mean.tolist(), moments.covariance.round(decimals=6).tolist()
    (3, [2.0, 1.0], [[4.0, 3.0], [3.0, 3.0]])
    """

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(0))  # (D,); empty until there are rows, as is the factor
    factor: Tensor = field(default_factory=lambda: torch.zeros(0, 0))  # (R, D)

    def update(self, rows: Tensor) -> None:
        """Add rows (B, D). Raises ValueError for another shape or width, and for values that are not finite."""
        if rows.ndim != 2 or not rows.shape[1]:
            raise ValueError(f"Features must be a matrix with a row for each picture, not of shape {tuple(rows.shape)}."
                             )
        rows = check_finite_values(in_double(rows), "Features")
        if len(rows):
            mean = rows.mean(0)
            self.merge(FeatureMoments(len(rows), mean, compressed(rows - mean)))

    def merge(self, other: FeatureMoments) -> None:
        """Add the rows that another has seen. Raises ValueError for features of another width."""
        if not other.count:
            return
        if not self.count:
            self.count, self.mean, self.factor = other.count, other.mean, other.factor
            return
        if len(self.mean) != len(other.mean):
            raise ValueError("Both must have the same features in their columns, not "
                             f"{len(self.mean)} and {len(other.mean)}.")
        total = self.count + other.count
        difference = other.mean - self.mean
        between = difference[None] * (self.count * other.count / total) ** 0.5  # (1, D)
        self.factor = compressed(torch.cat([self.factor, other.factor, between]))
        self.mean = self.mean + difference * (other.count / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance (D, D) of two or more rows."""
        return self.factor.T @ self.factor / (self.count - 1)

    def variance_of_mean(self, direction: Tensor) -> float:
        """The variance of the mean along `direction` v (D,), v' S v / N with the unbiased covariance S: the squared
        standard error, by the jackknife, of v'm. 0 for a single row, of which no variance is known."""
        if self.count < 2:
            return 0.0
        return (self.factor @ direction).square().sum().item() / (self.count * (self.count - 1))


def compressed(factor: Tensor) -> Tensor:
    """A factor (R, D) with the same F'F that has no more than 2 D rows."""
    if len(factor) <= 2 * factor.shape[1]:
        return factor
    return torch.linalg.qr(factor, mode="r").R  # (D, D)


def moments_of(features: Tensor) -> FeatureMoments:
    """The moments of rows (N, D) at once."""
    moments = FeatureMoments()
    moments.update(features)
    return moments


@dataclass
class GroupedMoments:
    """`FeatureMoments` of ten groups, to which rows are dealt in turn: what the jackknife by groups leaves out.

    Where `ensemble_size` rows after one another belong together, whole ensembles are dealt.

    >>> moments = GroupedMoments()
    >>> moments.update(torch.arange(12.0)[:, None])
    >>> round(moments.whole().mean.item(), 9), moments.count, len(moments.without())
    (5.5, 12, 10)
    """

    groups: list[FeatureMoments] = field(default_factory=lambda: [FeatureMoments() for _ in range(GROUPS)])
    ensemble_size: int = 1

    @property
    def count(self) -> int:
        return sum(group.count for group in self.groups)

    @property
    def ensembles(self) -> int:
        """How many ensembles there are rows of."""
        return -(-self.count // self.ensemble_size)

    def update(self, rows: Tensor) -> None:
        """Add rows (B, D), each ensemble to the group after that of the one before it."""
        begin = self.count
        owners = torch.arange(begin, begin + len(rows)) // self.ensemble_size % GROUPS  # (B,)
        for place in owners.unique().tolist():
            self.groups[place].update(rows[owners.to(rows.device) == place])

    def merge(self, other: GroupedMoments) -> None:
        """Add the rows that another has seen, as if they had come here after those that did. Raises ValueError for
        ensembles of another size, and where the last one here is not whole."""
        if other.ensemble_size != self.ensemble_size or self.count % self.ensemble_size:
            raise ValueError(f"{self.count} rows in ensembles of {self.ensemble_size} cannot go on with ensembles of "
                             f"{other.ensemble_size}.")
        begin = self.count // self.ensemble_size
        for place, added in enumerate(other.groups):
            self.groups[(begin + place) % GROUPS].merge(added)

    def whole(self) -> FeatureMoments:
        """The moments of all rows."""
        return _joined(self.groups)

    def without(self) -> list[FeatureMoments]:
        """The moments of all rows but those of each group that has any."""
        return [_joined([each for each in self.groups if each is not group]) for group in self.groups if group.count]


def _joined(groups: list[FeatureMoments]) -> FeatureMoments:
    """The moments of all groups at once: merged one by one, their factor would be made small again each time."""
    filled = [group for group in groups if group.count]
    if not filled:
        return FeatureMoments()
    counts = torch.tensor([group.count for group in filled], dtype=torch.float64)
    means = torch.stack([group.mean for group in filled])  # (G, D)
    mean = counts @ means / counts.sum()
    between = (means - mean) * counts.sqrt()[:, None]  # (G, D)
    factor = torch.cat([*(group.factor for group in filled), between])
    return FeatureMoments(int(counts.sum()), mean, compressed(factor))
