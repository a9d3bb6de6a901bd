"""CLIP-T: how well pictures fit their prompt, by a CLIP; typicality: how well a picture fits the others."""
from __future__ import annotations

import torch
from torch import Tensor

from ._unit import unit_pair, unit_rows


def prompt_similarity(features: Tensor, texts: Tensor) -> Tensor:
    """CLIP-T, the cosine (N,) of each picture's embedding (N, D) with its prompt's (N, D), or with that of all (1, D).

    The mean over pictures is the CLIP-T of DreamBooth (Ruiz et al. 2023, arXiv 2208.12242); `mean_estimate` of
    `RunningMoments` of it adds up over batches and has an interval.

    Raises ValueError where `unit_rows` does, and for widths and numbers that do not fit.

    >>> prompt_similarity(torch.eye(2), torch.tensor([[3.0, 4.0]])).tolist()
    [0.6, 0.8]
    """
    rows, words = unit_rows(features), unit_rows(texts, "texts")
    if rows.shape[1] != words.shape[1] or len(words) not in (1, len(rows)):
        raise ValueError(f"Embeddings of pictures {tuple(rows.shape)} and of texts {tuple(words.shape)} do not fit.")
    return (rows * words).sum(1)


def typicality(features: Tensor, reference: Tensor, *, own: Tensor | None = None) -> Tensor:
    """The mean cosine (N,) of each picture's features (N, D) with those of a reference (M, D), without the pictures
    that `own` (N, M) says are it.

    1 for a picture that all others are like. The picture with the largest is the medoid.

    Raises ValueError where `unit_rows` does, for features of different widths, and where a picture has no other to be
    compared with.

    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> [round(each, 2) for each in typicality(rows, rows, own=torch.eye(3, dtype=torch.bool)).tolist()]
    [0.35, 0.71, 0.35]
    """
    rows, others = unit_pair(features, reference)
    total = others.sum(0)  # (D,); all products at once would be N M numbers
    if own is None:
        return rows @ total / len(others)
    left_out = own.bool().cpu()
    counts = len(others) - left_out.sum(1)  # (N,)
    if not counts.all():
        raise ValueError("How typical a picture is takes another one, or a reference, to compare it with.")
    return torch.stack([row @ (total - others[itself].sum(0)) / count
                        for row, itself, count in zip(rows, left_out, counts)])
