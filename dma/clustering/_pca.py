"""Principal components of embeddings."""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..precision import in_double
from ..statistics import blocks, rows_in_double

if TYPE_CHECKING:
    import numpy as np


def principal_components(embeddings: Tensor, dimensions: int, *,
                         variance_share: float = 1.0) -> tuple[Tensor, tuple[float, ...]]:
    """Coordinates (N, d) in fp64 of embeddings (N, D) on their principal axes, and the share of variance of each axis.

    The leading axes are kept until they hold `variance_share` of the variance, at most `dimensions`. One common factor
    brings the mean variance of the kept coordinates to 1. The sign of an axis is the one that makes its largest
    loading positive, so that the same embeddings always give the same coordinates.

    The singular values come from the triangular factor R of a QR decomposition that is made block by block along the
    longer side (Golub and Van Loan, Matrix Computations, 5.4.3; Demmel et al. 2012): as exact as those of the whole
    matrix, which is never copied.

    Raises ValueError if all embeddings are the same.

    >>> coordinates, explained = principal_components(torch.tensor([[0.0, 0.0], [0.0, 2.0], [0.0, 4.0]]), 2)
    >>> [round(value, 3) + 0 for value in coordinates.flatten().tolist()], [round(value, 3) for value in explained]
    ([-1.225, 0.0, 1.225], [1.0])
    """
    import numpy as np

    count, width = embeddings.shape
    mean = torch.zeros(width, dtype=torch.float64)  # (D,)
    for rows in rows_in_double(embeddings):
        mean += rows.sum(0)
    mean /= count
    squared = deviations = 0.0
    for rows in rows_in_double(embeddings):
        squared += rows.square().sum().item()
        deviations += (rows - mean).square().sum().item()
    if deviations <= 1e-10 * squared:
        raise ValueError(f"All {count} pictures have the same embedding, so that there is nothing to cluster: "
                         "give different ones.")

    def centred_blocks() -> Iterator[np.ndarray]:
        """The centred embeddings along their longer side: (B, D), or transposed (B, N)."""
        if count > width:
            yield from ((rows - mean).numpy() for rows in rows_in_double(embeddings))
        for columns in blocks(width, count, least=count) if count <= width else ():
            part = in_double(embeddings[:, columns]) - mean[columns]
            yield np.ascontiguousarray(part.numpy().T)

    triangle = np.zeros((0, min(count, width)))
    for block in centred_blocks():
        triangle = np.linalg.qr(np.concatenate([triangle, block]), mode="r")
    _, singular, right = np.linalg.svd(triangle, full_matrices=False)
    explained = np.square(singular) / np.square(singular).sum()  # (min(N, D),)
    enough = int(np.searchsorted(np.cumsum(explained), variance_share - 1e-9)) + 1
    kept = max(1, min(dimensions, enough, int((explained > 1e-10).sum())))
    right, largest = right[:kept], np.zeros(kept)
    if count > width:  # these are the axes
        largest = right[np.arange(kept), np.abs(right).argmax(1)]
        coordinates = np.concatenate([block @ right.T for block in centred_blocks()])  # (N, d)
    else:  # these are the coordinates, each axis's divided by its singular value
        for block in centred_blocks():
            loadings = block @ right.T  # (B, d)
            found = loadings[np.abs(loadings).argmax(0), np.arange(kept)]
            largest = np.where(np.abs(found) > np.abs(largest), found, largest)
        coordinates = right.T * singular[:kept]
    coordinates = coordinates * np.sign(largest)
    coordinates /= math.sqrt(np.square(coordinates).mean())
    return torch.from_numpy(coordinates), tuple(explained[:kept].tolist())
