"""Centroids of clean latents by scikit-learn's k-means: what D4M and MGD3 start from.

Both methods take the centroids of the latents of real pictures, as they are, without principal components. With one
centroid the two agree: it is the mean of all latents, which is also what Avg VAE decodes.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..diffusion import check_latents

BATCH_PER_CENTROID = 10  # `km_expand` of D4M's script
RANDOM_STATE = 0  # of both scripts


@dataclass(frozen=True)
class Centroids:
    """Centroids of latents, that of the most latents first.

    means: (n, C, H, W), of the type of the latents, on the CPU. counts: how many latents are nearest to each.
    """

    means: Tensor
    counts: tuple[int, ...]


def minibatch_centroids(latents: Tensor, count: int = 1) -> Centroids:
    """D4M's prototypes (arXiv 2407.15138): `count` centroids of clean latents (N, C, H, W) by mini-batch k-means.

    As its authors' script has it: `MiniBatchKMeans(n_clusters=count, random_state=0, n_init="auto")`, given batches of
    10 `count` latents in their order by `partial_fit`, and what is left in the end if it is `count` or more. (There
    that last batch is taken of the last class alone, which looks like an oversight.)

    Raises ValueError for fewer than `count` different latents, and for values that are not finite.
    """
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    rows, size = _rows(latents, count), BATCH_PER_CENTROID * count
    model = MiniBatchKMeans(n_clusters=count, random_state=RANDOM_STATE, batch_size=size, n_init="auto")
    with threadpool_limits(limits=1):  # the order in which several threads add up is not fixed
        for first in range(0, len(rows), size):
            batch = rows[first : first + size]
            if len(batch) >= count:
                model.partial_fit(batch)
        return _centroids(model, rows, latents)


def kmeans_centroids(latents: Tensor, count: int = 1) -> Centroids:
    """MGD3's modes (arXiv 2505.18963): `count` centroids of clean latents (N, C, H, W) by k-means.

    As its authors' script has it: `KMeans(n_clusters=count, random_state=0, n_init="auto")` on all latents at once.

    Raises ValueError for fewer than `count` different latents, and for values that are not finite.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    rows = _rows(latents, count)
    with threadpool_limits(limits=1):
        model = KMeans(n_clusters=count, random_state=RANDOM_STATE, n_init="auto").fit(rows)
        return _centroids(model, rows, latents)


def _rows(latents: Tensor, count: int) -> Any:
    """Latents as rows (N, F) of a numpy array in fp32, checked."""
    import numpy as np

    check_latents(latents)
    if count < 1:
        raise ValueError(f"{count} centroids are asked for: there is at least 1.")
    rows = latents.detach().cpu().float().flatten(1).numpy()  # (N, F)
    different = len(rows) if count == 1 else len(np.unique(rows, axis=0))
    if different < count:
        raise ValueError(f"{count} centroids need at least as many different latents, but there are {different}: take "
                         "fewer centroids or more latents.")
    return rows


def _centroids(model: Any, rows: Any, latents: Tensor) -> Centroids:
    centres = torch.from_numpy(model.cluster_centers_).to(latents.dtype)  # (n, F)
    counts = torch.bincount(torch.from_numpy(model.predict(rows)).long(), minlength=len(centres))  # (n,)
    order = counts.argsort(descending=True, stable=True)
    return Centroids(centres[order].unflatten(1, latents.shape[1:]), tuple(counts[order].tolist()))
