"""Principal components of embeddings."""
from __future__ import annotations

import math

import torch
from torch import Tensor

from ..precision import in_double


def principal_components(embeddings: Tensor, dimensions: int, *,
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

    values = in_double(embeddings).numpy()  # (N, D)
    centred = values - values.mean(0)
    if np.square(centred).sum() <= 1e-10 * np.square(values).sum():
        raise ValueError(f"All {len(values)} pictures have the same embedding, so that there is nothing to cluster: "
                         "give different ones.")
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    explained = np.square(singular) / np.square(singular).sum()  # (min(N, D),)
    enough = int(np.searchsorted(np.cumsum(explained), variance_share - 1e-9)) + 1
    kept = max(1, min(dimensions, enough, int((explained > 1e-10).sum())))
    axes = axes[:kept]
    signs = np.sign(axes[np.arange(kept), np.abs(axes).argmax(1)])
    coordinates = centred @ (axes * signs[:, None]).T  # (N, d)
    coordinates /= math.sqrt(np.square(coordinates).mean())
    return torch.from_numpy(coordinates), tuple(explained[:kept].tolist())
