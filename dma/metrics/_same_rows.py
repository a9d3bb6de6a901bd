"""Which pictures are pictures of a reference."""
from __future__ import annotations

import torch
from torch import Tensor

from ..statistics import row_digests


def same_rows(pictures: Tensor, reference: Tensor) -> Tensor:
    """Which pictures (R, ...) are which of a reference (N, ...), number by number: (R, N), bool, for `own`.

    >>> same_rows(torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [3.0]])).tolist()
    [[False, False], [True, False]]
    """
    found = torch.zeros(len(pictures), len(reference), dtype=torch.bool)
    if pictures.shape[1:] == reference.shape[1:]:
        both = torch.promote_types(pictures.dtype, reference.dtype)
        places: dict[bytes, list[int]] = {}
        for column, digest in enumerate(row_digests(reference.to(both))):
            places.setdefault(digest, []).append(column)
        for row, digest in enumerate(row_digests(pictures.to(both))):
            found[row, places.get(digest, [])] = True
    return found


def own_pictures(pictures: Tensor, reference: Tensor) -> Tensor | None:
    """Which pictures (R, H, W, C) are in a reference (N, H, W, C), too, for `own`, by red, green and blue; None where
    none is, or where nothing would be left."""
    own = same_rows(pictures[..., :3], reference[..., :3])
    return own if own.any() and not own.all(1).any() else None
