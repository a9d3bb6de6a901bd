"""What measures of pictures ask of them."""
from __future__ import annotations

from torch import Tensor

from ..statistics import finite_rows

RANGE = (-0.5, 1.5)  # what resampling and sharpening leave of [0, 1] lies within


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


def check_range(pictures: Tensor, what: str = "Pictures") -> None:
    """Raise ValueError, calling them `what`, for one or more pictures (...) whose values are not in [0, 1]
    but, say, in 0 ... 255 or -1 ... 1.

    >>> import torch
    >>> check_range(torch.tensor([0.0, 255.0]))
    Traceback (most recent call last):
    ValueError: Pictures have values from 0 to 1 as floating-point numbers, but these go from 0 to 255 as float32: \
scale them.
    """
    lowest, highest = (each.item() for each in pictures.aminmax())
    if not (pictures.is_floating_point() and RANGE[0] <= lowest and highest <= RANGE[1]):
        raise ValueError(f"{what} have values from 0 to 1 as floating-point numbers, but these go from "
                         f"{lowest:g} to {highest:g} as {str(pictures.dtype).removeprefix('torch.')}: scale them.")
