"""What a network represents of pictures: the channel means of its blocks, over space and over noise."""
from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..execution import distance_of_answers


@dataclass(frozen=True, eq=False)
class Representation:
    """Features of N latents at L noise levels of one layer, pooled over space and averaged over noises.

        phi(x, sigma) = mean over draws of the pooled features at add_noise(x, eps_draw, sigma)

    (arXiv 2506.01912, for the mean over space at the middle block of a U-Net.) Everything is on the CPU.
    """

    means: Tensor  # (N, L, C) in fp32; (N, L, C, n, m) with a grid of cells, (N, L, C, h, w) without pooling
    layer: str
    sigmas: tuple[float, ...]  # L noise levels, falling
    draws: int  # noises whose features were averaged; at noise level 0 there is but one
    seed: int  # of the noises, the same for all latents and levels: row k of `reading_noise(draws, shape, seed)`
    pooling: str  # one of `models.POOLINGS`, or "maximum"
    shape: tuple[int, ...]  # (C, H, W) of the latents
    fingerprint: Tensor  # (L, values), what the model answered at the noise levels (`models.fingerprint`)

    def __len__(self) -> int:
        return len(self.means)

    def of(self, rows: slice | list[int]) -> Representation:
        """The representation of some of the latents, by their numbers."""
        return replace(self, means=self.means[rows])

    def at(self, level: int) -> Representation:
        """The representation at one of the noise levels, counted from 0."""
        kept = slice(level, level + 1) if level >= 0 else slice(level, level + 1 or None)
        return replace(self, means=self.means[:, kept], sigmas=self.sigmas[kept], fingerprint=self.fingerprint[kept])

    def rows(self) -> Tensor:
        """The features (N, D) of each latent in a row, those of all noise levels together."""
        return self.means.flatten(1)

    def is_of(self, fingerprint: Tensor, tolerance: float = 1e-5) -> bool:
        """Whether a model that answers like this, at the same noise levels, is the one that was read."""
        return distance_of_answers(self.fingerprint, fingerprint) <= tolerance


def check_alike(first: Representation, second: Representation, tolerance: float = 1e-5) -> None:
    """Raise ValueError, with a sentence that says in what they differ, unless two representations can be compared: of
    the same layer, noise levels, pooling and size, and of one model under one prompt.

    Draws and seeds may differ: they change the error of the means and not what they are means of.
    """
    for what, one, other in (("layers", first.layer, second.layer), ("pooling", first.pooling, second.pooling),
                             ("noise levels", _numbers(first.sigmas), _numbers(second.sigmas)),
                             ("sizes of latents", first.shape, second.shape),
                             ("sizes of features", tuple(first.means.shape[2:]), tuple(second.means.shape[2:]))):
        if one != other:
            raise ValueError(f"These representations cannot be compared: their {what} differ ({one} and {other}).")
    if not first.is_of(second.fingerprint, tolerance):
        raise ValueError("These representations cannot be compared: they were read from different models, or under "
                         "different prompts.")


def check_representation(found: Representation) -> Representation:
    """The representation itself. Raises ValueError if its parts contradict one another, or hold NaN or infinity."""
    means, levels = found.means, len(found.sigmas)
    if means.ndim not in (3, 5) or means.shape[1] != levels or not means.numel() or len(found.fingerprint) != levels:
        raise ValueError(f"This representation is damaged: its means have the shape {tuple(means.shape)} at {levels} "
                         "noise levels.")
    if not (torch.isfinite(means).all() and torch.isfinite(found.fingerprint).all()):
        raise ValueError("This representation contains NaN or infinity.")
    return found


def _numbers(sigmas: tuple[float, ...]) -> str:
    return ", ".join(f"{sigma:.5g}" for sigma in sigmas)
