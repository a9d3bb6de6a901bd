"""The modes of a concept: clusters of picture embeddings, by principal components and a Gaussian mixture or k-means.

The way of arXiv 2603.29239 (section on multimodal concepts). The number of components may be chosen by the Bayesian
information criterion, BIC = p ln N - 2 ln L with p free parameters and likelihood L: the lowest wins.
"""
from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..execution import Event, Watcher, drive, retold
from ..records import json_text
from ..statistics import finite_rows, wilson_interval
from ._gaussian_mixture import fit_mixture, log_densities
from ._k_means import fit_centres, nearness
from ._pca import principal_components
from ._settings import K_MEANS, ClusterSettings


@dataclass(frozen=True)
class Share:
    """How many of the pictures are in a cluster, and their share with its 95 % Wilson interval."""

    count: int
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, count: int, total: int) -> Share:
        return cls(count, count / total, *wilson_interval(count, total))


@dataclass(frozen=True, eq=False)
class Clusters:
    """N pictures in C clusters, the largest first (cluster 0); between equals, of a mixture, the one with the smaller
    mean coordinates."""

    FORMAT = "mental-averages/clusters"
    VERSION = 1

    labels: Tensor  # (N,) int64, cluster of each picture; -1: left out
    # (N, C) fp64, probability of each cluster, 0 or 1 of k-means; sums to less than 1 where clusters were left out.
    responsibilities: Tensor
    # Pictures of each cluster, the most typical first: of a mixture that where the cluster's Gaussian is densest, of
    # k-means that nearest to the centre.
    members: tuple[tuple[int, ...], ...]
    shares: tuple[Share, ...]  # of all N pictures, the left out ones included
    coordinates: Tensor  # (N, d) fp64, principal components, the mean variance of a column is 1
    explained_variance: tuple[float, ...]  # share of the variance of the embeddings in each of the d components
    bic: tuple[tuple[int, float], ...]  # number of components, BIC; empty where no mixture was fitted
    settings: Any  # a dataclass, that of whatever found them; `ClusterSettings` of a mixture

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
        return json_text(self.FORMAT, self.VERSION, {
            "settings": asdict(self.settings), "pictures": len(self.labels),
            "clusters": clusters, "left_out": self.left_out, "labels": self.labels.tolist(),
            "responsibilities": [[round(value, 6) for value in row] for row in self.responsibilities.tolist()],
            "bic": [{"components": count, "bic": value} for count, value in self.bic],
            "explained_variance": self.explained_variance,
        })


def check_count(count: int, settings: ClusterSettings) -> None:
    """Raise ValueError if so many pictures are too few for these settings."""
    if count < 2:
        raise ValueError(f"Clusters need at least two pictures, but there is {count}: give more.")
    if settings.largest_count > count:
        raise ValueError(f"{settings.largest_count} clusters need at least as many pictures, but there are {count}: "
                         "ask for fewer clusters or give more pictures.")
    if settings.minimum_size > count:
        raise ValueError(f"The minimum size of a cluster is {settings.minimum_size}, but there are only {count} "
                         "pictures: lower it.")


def check_embeddings(embeddings: Tensor, settings: ClusterSettings) -> None:
    """Raise ValueError if embeddings (N, D) cannot be clustered with these settings."""
    if embeddings.ndim != 2 or embeddings.shape[1] == 0:
        raise ValueError(f"Embeddings have the shape (N, D), but these are {tuple(embeddings.shape)}.")
    check_count(len(embeddings), settings)
    broken = torch.nonzero(~finite_rows(embeddings)).flatten().tolist()
    if broken:
        raise ValueError(f"The embedding of {len(broken)} of {len(embeddings)} pictures contains NaN or infinity "
                         f"(first: picture {broken[0]}): look for what made the pictures, or for a damaged encoder.")


def cluster(embeddings: Tensor, settings: ClusterSettings = ClusterSettings(), *,
            watchers: Sequence[Watcher] = ()) -> Clusters:
    """Cluster embeddings (N, D). The same embeddings give the same result, and in another order the same partition.

    Watchers hear of each start of each mixture that is fitted, with no state. Raises ValueError where
    `check_embeddings` does, for embeddings that are all the same or of which fewer differ than clusters were asked for,
    and when every cluster is smaller than the minimum and small ones are left out.

    >>> found = cluster(torch.tensor([[0.0], [0.1], [0.2], [5.0], [5.1]]), ClusterSettings(2, 2))
    >>> found.labels.tolist(), [share.count for share in found.shares]
    ([0, 0, 0, 1, 1], [3, 2])
    """
    return drive(fitting(embeddings, settings), None, watchers)


def fitting(embeddings: Tensor, settings: ClusterSettings) -> Generator[Event, None, Clusters]:
    """The loop of `cluster`: an event "fit" after each start and after each number of components that is tried."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    check_embeddings(embeddings, settings)
    values = embeddings.detach().cpu()
    if values.element_size() < 4:
        values = values.float()  # numpy has no bfloat16
    # Fits start from drawn rows: in an order that depends on the values alone, they start the same for any order.
    order = torch.from_numpy(np.lexsort(values.numpy().T[::-1]))  # (N,)
    # The order in which several threads add up is not fixed.
    with threadpool_limits(limits=1):
        coordinates, explained = principal_components(values[order], settings.dimensions,
                                                      variance_share=settings.variance_share)
        different = len(np.unique(coordinates.numpy().round(9), axis=0))
        if settings.largest_count > different:
            raise ValueError(f"{settings.largest_count} clusters need at least as many different pictures, but only "
                             f"{different} of {len(values)} embeddings differ: ask for fewer clusters.")
    fitted = _k_means(coordinates, settings) if settings.method == K_MEANS else (
        yield from _mixture(coordinates, settings))
    labels, kept = _assign(fitted.scores, settings)
    sizes = torch.bincount(labels[labels >= 0], minlength=len(fitted.means)).tolist()
    kept.sort(key=lambda component: (-sizes[component], fitted.means[component]))
    if settings.method == K_MEANS:
        responsibilities = (labels[:, None] == torch.tensor(kept)).double()  # (N, C)
    else:
        merged = settings.small_clusters == "merge"
        responsibilities = fitted.scores[:, kept].softmax(1) if merged else fitted.scores.softmax(1)[:, kept]
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    return _describe(labels[back], kept, fitted.typical[back], responsibilities[back], coordinates[back], explained,
                     fitted.bic, settings)


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Components that were fitted to N pictures.

    scores: (N, components), of which the largest says where a picture belongs. typical: (N, components), how typical it
    is of each. means: the coordinates of each component's centre.
    """

    scores: Tensor
    typical: Tensor
    means: list[list[float]]
    bic: tuple[tuple[int, float], ...] = ()


def _mixture(coordinates: Tensor, settings: ClusterSettings) -> Generator[Event, None, _Fitted]:
    import numpy as np
    from threadpoolctl import threadpool_limits

    fits, bic = [], []
    counts = range(settings.smallest_count, settings.largest_count + 1)
    for count in counts:
        present = slice(len(fits), len(fits) + 1)
        starts = fit_mixture(coordinates, count, settings)
        fits.append((yield from retold(starts, lambda start: start.event("fit", present, len(counts)))))
        with threadpool_limits(limits=1):
            bic.append((count, float(fits[-1].bic(coordinates.numpy()))))
        yield Event("fit", 1.0, len(fits), len(counts))
    best: Any = fits[min(range(len(fits)), key=lambda index: bic[index][1])]
    with threadpool_limits(limits=1):
        densities = log_densities(best, coordinates)  # (N, components)
    return _Fitted(densities + torch.from_numpy(np.log(best.weights_)), densities, best.means_.tolist(),
                   tuple(bic))


def _k_means(coordinates: Tensor, settings: ClusterSettings) -> _Fitted:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        centres = fit_centres(coordinates, settings.largest_count, settings)
        near = nearness(centres, coordinates)
    return _Fitted(near, near, centres.tolist())


def _assign(scores: Tensor, settings: ClusterSettings) -> tuple[Tensor, list[int]]:
    """The component of each row of scores (N, components), -1 where left out, and the components that are kept."""
    kept = list(range(scores.shape[1]))
    if settings.small_clusters == "leave out":
        labels = scores.argmax(1)
        sizes = torch.bincount(labels, minlength=len(kept))
        kept = [component for component in kept if sizes[component] >= settings.minimum_size]
        if not kept:
            raise ValueError(f"None of {scores.shape[1]} clusters has {settings.minimum_size} pictures: lower the "
                             "minimum size, ask for fewer clusters, or let small clusters merge.")
        return torch.where(torch.isin(labels, torch.tensor(kept)), labels, -1), kept
    while True:
        labels = scores[:, kept].argmax(1)
        sizes = torch.bincount(labels, minlength=len(kept))
        smallest = int(sizes.argmin())
        if sizes[smallest] >= settings.minimum_size or len(kept) == 1:
            return torch.tensor(kept)[labels], kept
        del kept[smallest]


def _describe(components: Tensor, kept: list[int], typicality: Tensor, responsibilities: Tensor, coordinates: Tensor,
              explained: tuple[float, ...], bic: tuple, settings: ClusterSettings) -> Clusters:
    """Clusters from the component of each picture, renamed to its place in `kept`."""
    labels = torch.full_like(components, -1)
    members, shares = [], []
    for place, component in enumerate(kept):
        rows = torch.nonzero(components == component).flatten()
        labels[rows] = place
        typical = typicality[rows, component].tolist()
        # Rounded, so that equal pictures keep their order whatever the last bit says.
        members.append(tuple(row for _, row in sorted((-round(value, 9), row)
                                                      for value, row in zip(typical, rows.tolist()))))
        shares.append(Share.of(len(rows), len(labels)))
    return Clusters(labels, responsibilities, tuple(members), tuple(shares), coordinates, explained, bic, settings)
