"""What measures of pictures ask of them."""
from __future__ import annotations

from torch import Tensor

from ..statistics import finite_rows


def check_pictures(pictures: Tensor) -> None:
    """Raise ValueError unless these are one or more pictures (N, H, W, 3 or more), all values finite.

    >>> import torch
    >>> check_pictures(torch.full((2, 4, 4, 3), torch.inf))
    Traceback (most recent call last):
    ValueError: 2 of 2 pictures contain NaN or infinity: look for what made them.
    """
    if pictures.ndim != 4 or pictures.shape[-1] < 3 or not len(pictures):
        raise ValueError(f"Pictures have the shape (N, H, W, 3), but these are {tuple(pictures.shape)}.")
    broken = int((~finite_rows(pictures)).sum())
    if broken:
        raise ValueError(f"{broken} of {len(pictures)} pictures contain NaN or infinity: look for what made them.")
