"""k-means: clusters by the nearest of k centres (Lloyd's algorithm from k-means++ starts, of scikit-learn)."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._settings import ClusterSettings

MOST_ITERATIONS = 500


def fit_centres(coordinates: Tensor, count: int, settings: ClusterSettings) -> Tensor:
    """The centres (count, d) in fp64 of rows (N, d) that have the least sum of squared distances, the best of
    `settings.restarts` starts."""
    from sklearn.cluster import KMeans

    restarts: Any = settings.restarts  # scikit-learn takes a number here, too
    found = KMeans(count, n_init=restarts, max_iter=MOST_ITERATIONS, random_state=settings.seed)
    return torch.from_numpy(found.fit(coordinates.numpy()).cluster_centers_)


def nearness(centres: Tensor, coordinates: Tensor) -> Tensor:
    """Minus the squared distance (N, k) of rows (N, d) to each centre (k, d).

    >>> nearness(torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0]])).tolist()
    [[-1.0, -4.0]]
    """
    # One by one: there may be as many coordinates as pictures, and all differences at once would be N k d.
    return torch.stack([-(coordinates - centre).square().sum(1) for centre in centres], dim=1)
