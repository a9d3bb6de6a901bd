"""The modes of a concept: clusters of picture embeddings, by principal components and a Gaussian mixture.

The way of arXiv 2603.29239 (section on multimodal concepts). The number of components may be chosen by the Bayesian
information criterion, BIC = p ln N - 2 ln L with p free parameters and likelihood L: the lowest wins.
"""
from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from statistics import NormalDist

import torch
from torch import Tensor

FORMAT = "mental-averages/clusters"
VERSION = 1
COVARIANCES = ("diag", "full", "tied", "spherical")
SMALL_CLUSTERS = ("merge", "leave out")
MOST_ITERATIONS = 500


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
    """

    smallest_count: int = 1
    largest_count: int = 8
    dimensions: int = 16
    variance_share: float = 1.0
    covariance: str = "diag"
    restarts: int = 10
    seed: int = 0
    minimum_size: int = 2
    small_clusters: str = "merge"
    regularisation: float = 1e-2

    def __post_init__(self) -> None:
        if not 1 <= self.smallest_count <= self.largest_count:
            raise ValueError(f"The number of clusters goes from {self.smallest_count} to {self.largest_count}: it has "
                             "to start at 1 or more and must not go down.")
        if self.dimensions < 1 or not 0 < self.variance_share <= 1:
            raise ValueError("PCA keeps at least one dimension, and a share of variance above 0 and up to 1, not "
                             f"{self.dimensions} and {self.variance_share}.")
        if self.covariance not in COVARIANCES:
            raise ValueError(f"There is no covariance {self.covariance!r}: choose one of {', '.join(COVARIANCES)}.")
        if self.small_clusters not in SMALL_CLUSTERS:
            raise ValueError(f"There is no way {self.small_clusters!r} with small clusters: choose one of "
                             f"{', '.join(SMALL_CLUSTERS)}.")
        if self.restarts < 1 or self.minimum_size < 1 or self.regularisation <= 0:
            raise ValueError("Restarts and the minimum size of a cluster have to be 1 or more, and regularisation "
                             "above 0.")


@dataclass(frozen=True)
class Share:
    """How many of the pictures are in a cluster, and their share with its 95 % Wilson interval."""

    count: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Clusters:
    """N pictures in C clusters, the largest first (cluster 0); between equals the one with the smaller mean
    coordinates."""

    labels: Tensor  # (N,) int64, cluster of each picture; -1: left out
    # (N, C) fp64, probability of each cluster; sums to less than 1 where clusters were left out.
    responsibilities: Tensor
    # Pictures of each cluster, the most typical (densest under its Gaussian) first.
    members: tuple[tuple[int, ...], ...]
    shares: tuple[Share, ...]  # of all N pictures, the left out ones included
    coordinates: Tensor  # (N, d) fp64, principal components, the mean variance of a column is 1
    explained_variance: tuple[float, ...]  # share of the variance of the embeddings in each of the d components
    bic: tuple[tuple[int, float], ...]  # number of components, BIC
    settings: ClusterSettings

    @property
    def left_out(self) -> tuple[int, ...]:
        return tuple(torch.nonzero(self.labels < 0).flatten().tolist())

    def representatives(self, cluster: int, count: int = 4) -> tuple[int, ...]:
        """The most typical pictures of a cluster."""
        return self.members[cluster][:count]

    def to_json(self) -> str:
        clusters = [{"cluster": index, **asdict(share), "representatives": self.representatives(index),
                     "members": self.members[index]}
                    for index, share in enumerate(self.shares)]
        return json.dumps({
            "format": FORMAT, "version": VERSION, "settings": asdict(self.settings), "pictures": len(self.labels),
            "clusters": clusters, "left_out": self.left_out, "labels": self.labels.tolist(),
            "responsibilities": [[round(value, 6) for value in row] for row in self.responsibilities.tolist()],
            "bic": [{"components": count, "bic": value} for count, value in self.bic],
            "explained_variance": self.explained_variance,
        }, indent=1)


def wilson_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share p = count / total:  (p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    >>> low, high = wilson_interval(0, 10)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.278)
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p, scale = count / total, 1 + z * z / total
    centre = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def principal_components(embeddings: Tensor, dimensions: int,
                         variance_share: float = 1.0) -> tuple[Tensor, tuple[float, ...]]:
    """Coordinates (N, d) in fp64 of embeddings (N, D) on their principal axes, and the share of variance of each axis.

    The leading axes are kept until they hold `variance_share` of the variance, at most `dimensions`. One common factor
    brings the mean variance of the kept coordinates to 1. The sign of an axis is the one that makes its largest
    loading positive, so that the same embeddings always give the same coordinates.

    Raises ValueError if all embeddings are the same.

    >>> coordinates, explained = principal_components(torch.tensor([[0.0, 0.0], [0.0, 2.0], [0.0, 4.0]]), 2)
    >>> [round(value, 3) for value in coordinates.flatten().tolist()], [round(value, 3) for value in explained]
    ([-1.225, 0.0, 1.225], [1.0])
    """
    import numpy as np

    values = embeddings.double().cpu().numpy()  # (N, D)
    centred = values - values.mean(0)
    if np.square(centred).sum() <= 1e-10 * np.square(values).sum():
        raise ValueError(f"All {len(values)} pictures have the same embedding, so that there is nothing to cluster: "
                         "connect different pictures.")
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    explained = np.square(singular) / np.square(singular).sum()  # (min(N, D),)
    enough = int(np.searchsorted(np.cumsum(explained), variance_share - 1e-9)) + 1
    kept = max(1, min(dimensions, enough, int((explained > 1e-10).sum())))
    axes = axes[:kept]
    signs = np.sign(axes[np.arange(kept), np.abs(axes).argmax(1)])
    coordinates = centred @ (axes * signs[:, None]).T  # (N, d)
    coordinates /= math.sqrt(np.square(coordinates).mean())
    return torch.from_numpy(coordinates), tuple(explained[:kept].tolist())


def check_count(count: int, settings: ClusterSettings) -> None:
    """Raise ValueError if so many pictures are too few for these settings."""
    if count < 2:
        raise ValueError(f"Clusters need at least two pictures, but there is {count}: connect a larger batch.")
    if settings.largest_count > count:
        raise ValueError(f"{settings.largest_count} clusters need at least as many pictures, but there are {count}: "
                         "ask for fewer clusters or connect more pictures.")
    if settings.minimum_size > count:
        raise ValueError(f"The minimum size of a cluster is {settings.minimum_size}, but there are only {count} "
                         "pictures: lower it.")


def check_different(images: Tensor) -> None:
    """Raise ValueError if all pictures (N, H, W, C) are the same, before they are embedded for nothing."""
    if all(torch.equal(image, images[0]) for image in images[1:]):
        raise ValueError(f"All {len(images)} pictures are the same, so that there is nothing to cluster: connect "
                         "different pictures.")


def check_embeddings(embeddings: Tensor, settings: ClusterSettings) -> None:
    """Raise ValueError if embeddings (N, D) cannot be clustered with these settings."""
    if embeddings.ndim != 2 or embeddings.shape[1] == 0:
        raise ValueError(f"Embeddings have the shape (N, D), but these are {tuple(embeddings.shape)}.")
    check_count(len(embeddings), settings)
    broken = torch.nonzero(~torch.isfinite(embeddings).all(1)).flatten().tolist()
    if broken:
        raise ValueError(f"The embedding of {len(broken)} of {len(embeddings)} pictures contains NaN or infinity "
                         f"(first: picture {broken[0]}): look for the node that made the pictures, or for a damaged "
                         "encoder.")


def cluster(embeddings: Tensor, settings: ClusterSettings = ClusterSettings()) -> Clusters:
    """Cluster embeddings (N, D). The same embeddings give the same result, and in another order the same partition.

    Raises ValueError where `check_embeddings` does, for embeddings that are all the same or of which fewer differ than
    clusters were asked for, and when every cluster is smaller than the minimum and small ones are left out.

    >>> found = cluster(torch.tensor([[0.0], [0.1], [0.2], [5.0], [5.1]]), ClusterSettings(2, 2))
    >>> found.labels.tolist(), [share.count for share in found.shares]
    ([0, 0, 0, 1, 1], [3, 2])
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    check_embeddings(embeddings, settings)
    values = embeddings.detach().double().cpu()
    # The mixture starts from drawn rows: in an order that depends on the values alone, it starts the same for any
    # order.
    order = torch.from_numpy(np.lexsort(values.numpy().T[::-1]))  # (N,)
    # The order in which several threads add up is not fixed.
    with threadpool_limits(limits=1):
        coordinates, explained = principal_components(values[order], settings.dimensions, settings.variance_share)
        different = len(np.unique(coordinates.numpy().round(9), axis=0))
        if settings.largest_count > different:
            raise ValueError(f"{settings.largest_count} clusters need at least as many different pictures, but only "
                             f"{different} of {len(values)} embeddings differ: ask for fewer clusters.")
        fits = [_fit(coordinates, count, settings)
                for count in range(settings.smallest_count, settings.largest_count + 1)]
        bic = tuple((fit.n_components, float(fit.bic(coordinates.numpy()))) for fit in fits)
        best = fits[min(range(len(fits)), key=lambda index: bic[index][1])]
        densities = _log_densities(best, coordinates)  # (N, components)
    joint = densities + torch.from_numpy(np.log(best.weights_))
    labels, kept = _assign(joint, settings)
    means = best.means_.tolist()
    sizes = torch.bincount(labels[labels >= 0], minlength=densities.shape[1]).tolist()
    kept.sort(key=lambda component: (-sizes[component], means[component]))
    merged = settings.small_clusters == "merge"
    responsibilities = joint[:, kept].softmax(1) if merged else joint.softmax(1)[:, kept]  # (N, C)
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    return _describe(labels[back], kept, densities[back], responsibilities[back], coordinates[back], explained, bic,
                     settings)


def _fit(coordinates: Tensor, count: int, settings: ClusterSettings):
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(count, covariance_type=settings.covariance, n_init=settings.restarts,
                              max_iter=MOST_ITERATIONS, reg_covar=settings.regularisation, random_state=settings.seed)
    return mixture.fit(coordinates.numpy())


def _log_densities(mixture, coordinates: Tensor) -> Tensor:
    """Log density (N, components) of rows (N, d) under each Gaussian, without its weight."""
    import numpy as np

    count, dimensions = mixture.means_.shape
    covariances = mixture.covariances_
    if mixture.covariance_type == "tied":
        covariances = np.broadcast_to(covariances, (count, dimensions, dimensions)).copy()
    elif mixture.covariance_type == "diag":
        covariances = covariances[:, :, None] * np.eye(dimensions)
    elif mixture.covariance_type == "spherical":
        covariances = covariances[:, None, None] * np.eye(dimensions)
    gaussians = torch.distributions.MultivariateNormal(torch.from_numpy(mixture.means_), torch.from_numpy(covariances))
    return gaussians.log_prob(coordinates[:, None])


def _assign(joint: Tensor, settings: ClusterSettings) -> tuple[Tensor, list[int]]:
    """The component of each row of joint (N, components), -1 where left out, and the components that are kept."""
    kept = list(range(joint.shape[1]))
    if settings.small_clusters == "leave out":
        labels = joint.argmax(1)
        sizes = torch.bincount(labels, minlength=len(kept))
        kept = [component for component in kept if sizes[component] >= settings.minimum_size]
        if not kept:
            raise ValueError(f"None of {joint.shape[1]} clusters has {settings.minimum_size} pictures: lower the "
                             "minimum size, ask for fewer clusters, or let small clusters merge.")
        return torch.where(torch.isin(labels, torch.tensor(kept)), labels, -1), kept
    while True:
        labels = joint[:, kept].argmax(1)
        sizes = torch.bincount(labels, minlength=len(kept))
        smallest = int(sizes.argmin())
        if sizes[smallest] >= settings.minimum_size or len(kept) == 1:
            return torch.tensor(kept)[labels], kept
        del kept[smallest]


def _describe(components: Tensor, kept: list[int], densities: Tensor, responsibilities: Tensor, coordinates: Tensor,
              explained: tuple[float, ...], bic: tuple, settings: ClusterSettings) -> Clusters:
    """Clusters from the component of each picture, renamed to its place in `kept`."""
    labels = torch.full_like(components, -1)
    members, shares = [], []
    for place, component in enumerate(kept):
        rows = torch.nonzero(components == component).flatten()
        labels[rows] = place
        typical = densities[rows, component].tolist()
        # Rounded, so that equal pictures keep their order whatever the last bit says.
        members.append(tuple(row for _, row in sorted((-round(value, 9), row)
                                                      for value, row in zip(typical, rows.tolist()))))
        shares.append(Share(len(rows), len(rows) / len(labels), *wilson_interval(len(rows), len(labels))))
    return Clusters(labels, responsibilities, tuple(members), tuple(shares), coordinates, explained, bic, settings)
