"""Checks of latents, and of what a model makes of them."""
from __future__ import annotations

import contextlib
from collections.abc import Generator

import torch
from torch import Tensor

from ..statistics import finite_rows


def check_latents(latents: Tensor) -> None:
    """Raise ValueError unless these are latents (N, C, H, W) of one or more pictures, all finite."""
    if latents.ndim != 4:
        raise ValueError("Latents of pictures have four dimensions (batch, channels, height, width), but these have "
                         f"the shape {tuple(latents.shape)}, as those of video or audio may have.")
    if latents.numel() == 0:
        raise ValueError("There are no latents: the batch is empty.")
    if not torch.isfinite(latents).all():
        raise ValueError("The latents contain NaN or infinity: something went wrong where they were made.")


class NotFiniteError(ValueError):
    """A model or a method has come to NaN or infinity."""


def check_finite(values: Tensor, what: str, sigma: float) -> Tensor:
    """The values (B, ...) themselves. Raises NotFiniteError, which names `what` they are and the noise level, unless
    all are finite.

    >>> check_finite(torch.ones(2, 1), "The features", 1.5).tolist()
    [[1.0], [1.0]]
    >>> check_finite(torch.tensor([[1.0], [torch.nan]]), "The features", 1.5)
    Traceback (most recent call last):
    mental_averages.dma.diffusion._latents.NotFiniteError: The features at noise level 1.5 contain NaN or infinity \
(1 of 2 latents).
    """
    if not torch.isfinite(values).all():
        broken = int((~finite_rows(values)).sum())
        raise NotFiniteError(f"{what} at noise level {sigma:.4g} contain NaN or infinity ({broken} of {len(values)} "
                             "latents).")
    return values


@contextlib.contextmanager
def at_step(number: int, steps: int) -> Generator[None]:
    """Let errors about NaN and infinity that are raised inside name the step, counted from 1.

    Around the body of a loop that yields it hears of the loop's own errors only.
    """
    try:
        yield
    except NotFiniteError as error:
        raise NotFiniteError(f"Step {number} of {steps}: {error}") from error
