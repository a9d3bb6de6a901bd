"""Reading the features of many latents, a few at a time."""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..diffusion import Denoiser, check_finite, of_rows, spread
from ..execution import BatchSize, choose_batch


def features_of(denoiser: Denoiser, latents: Tensor, sigma: float) -> Tensor:
    """The features (b, ...) of latents (b, C, H, W) from anywhere, without gradient, on the Denoiser's device.

    Raises NotFiniteError where one is NaN or infinite.
    """
    with torch.no_grad():
        return check_finite(denoiser.features(latents.to(denoiser.device), sigma), "The features", sigma)


def read_features(denoiser: Denoiser, latents: Tensor, sigma: float, *,
                  batch: BatchSize | None = None, first: int = 0) -> Iterator[tuple[slice, Tensor]]:
    """The features of latents (K, C, H, W) at one noise level from row `first` on, micro-batch by micro-batch: the rows
    and their features (b, ...), without gradient, on the device where they come out.

    Each is read when it is asked for and none is kept here, so that features which are summed up or shortened never lie
    in memory together. `batch` None chooses the size.

    >>> class Doubling:
    ...     device = torch.device("cpu")
    ...     def features(self, x, sigma): return 2 * x
    >>> found = read_features(Doubling(), torch.ones(3, 1, 1, 1), 1.0, batch=BatchSize(2))
    >>> [(rows.start, rows.stop, features.flatten().tolist()) for rows, features in found]
    [(0, 2, [2.0, 2.0]), (2, 3, [2.0])]
    """
    batch = choose_batch(batch, latents.shape[1:])
    yield from spread(denoiser, batch, len(latents), functools.partial(reading, sigma=sigma), first=first,
                      latents=latents)


def reading(denoiser: Denoiser, *, sigma: float) -> Callable[[slice, Tensor], Tensor]:
    """What reads the features of latents, which may differ in more than themselves."""
    return lambda rows, latents: features_of(of_rows(denoiser, rows), latents, sigma)
