"""How embeddings are clustered."""
from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from ..choices import check_choice

COVARIANCES = ("diag", "full", "tied", "spherical")
SMALL_CLUSTERS = ("merge", "leave out")
MIXTURE, K_MEANS = METHODS = ("gaussian mixture", "k-means")


@dataclass(frozen=True)
class ClusterSettings:
    """How embeddings are clustered.

    `smallest_count` to `largest_count` components are tried, and BIC chooses; give the same number twice to fix it.
    The leading principal components are kept until they hold `variance_share` of the variance, at most `dimensions` of
    them. `regularisation` is added to the variances of every component, in units of the mean variance of a kept
    principal component: without it a single picture can be a component of endless density. Each fit starts `restarts`
    times, from `seed`, and the likeliest is kept. A cluster with fewer than `minimum_size` pictures is dissolved: with
    "merge" its pictures go to the likeliest of the others, smallest cluster first; with "leave out" they get the
    label -1.

    `method` "k-means" takes the nearest of so many centres instead, which has no BIC: their number is fixed.
    `covariance` and `regularisation` are the mixture's alone.
    """

    smallest_count: int = 1
    largest_count: int = 8
    _: KW_ONLY
    dimensions: int = 16
    variance_share: float = 1.0
    covariance: str = "diag"
    restarts: int = 10
    seed: int = 0
    minimum_size: int = 2
    small_clusters: str = "merge"
    regularisation: float = 1e-2
    method: str = MIXTURE

    def __post_init__(self) -> None:
        if not 1 <= self.smallest_count <= self.largest_count:
            raise ValueError(f"The number of clusters goes from {self.smallest_count} to {self.largest_count}: it has "
                             "to start at 1 or more and must not go down.")
        if self.dimensions < 1 or not 0 < self.variance_share <= 1:
            raise ValueError("PCA keeps at least one dimension, and a share of variance above 0 and up to 1, not "
                             f"{self.dimensions} and {self.variance_share}.")
        check_choice(self.covariance, COVARIANCES, "covariance")
        check_choice(self.small_clusters, SMALL_CLUSTERS, "way with small clusters")
        check_choice(self.method, METHODS, "method of clustering")
        if self.method == K_MEANS and self.smallest_count != self.largest_count:
            raise ValueError("k-means has no BIC to choose the number of clusters by: it has to be fixed.")
        if self.restarts < 1 or self.minimum_size < 1 or self.regularisation <= 0:
            raise ValueError("Restarts and the minimum size of a cluster have to be 1 or more, and regularisation "
                             "above 0.")
