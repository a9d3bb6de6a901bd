"""What an alignment starts from: noise, or a weighted ensemble of latents in the middle of their sampling."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..diffusion import Denoiser, NoiseRows, start_scale
from ._settings import AlignmentSettings


class Start(Protocol):
    """K latents at the first noise level, row by row, and what each of them counts in the first mean."""

    def check(self, count: int, shape: tuple[int, ...]) -> None:
        """Raise ValueError unless these are `count` latents of `shape` (C, H, W)."""
        ...

    def rows(self, denoiser: Denoiser, sigma: float) -> NoiseRows | Tensor:
        """The latents x as they are carried at the first noise level, (K, C, H, W), by rows that never fall."""
        ...

    def weights_of(self, rows: slice) -> Tensor | None:
        """Weights (b,) of rows in the first mean; None if each counts once."""
        ...

    def moving(self, settings: AlignmentSettings, drawn: int | None = None) -> int:
        """How many latents are matched and carried on, where so many were `drawn` for the first mean."""
        ...

    def first(self, denoiser: Denoiser, sigma: float, count: int) -> Tensor:
        """The first `count` latents x of those that may go on, (count, C, H, W)."""
        ...


@dataclass(frozen=True)
class Noise:
    """K latents of standard normal noise from a seed, drawn when they are asked for and forgotten behind."""

    count: int
    shape: tuple[int, ...]
    seed: int

    def check(self, count: int, shape: tuple[int, ...]) -> None:
        if (self.count, tuple(self.shape)) != (count, tuple(shape)):
            raise ValueError(f"Noise for {self.count} latents of shape {tuple(self.shape)} was given, but {count} of "
                             f"shape {tuple(shape)} are to be aligned.")

    def rows(self, denoiser: Denoiser, sigma: float) -> NoiseRows:
        return NoiseRows(self.count, self.shape, self.seed, start_scale(denoiser, sigma))

    def weights_of(self, rows: slice) -> None:
        return None

    def moving(self, settings: AlignmentSettings, drawn: int | None = None) -> int:
        return settings.moving if drawn is None else min(settings.moving, drawn)

    def first(self, denoiser: Denoiser, sigma: float, count: int) -> Tensor:
        return self.rows(denoiser, sigma)[0:count]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Latents to start from instead of noise, and what each of them counts in the first mean.

    latents: (K, C, H, W), at the first noise level, as `dma.diffusion` carries them.
    weights: (K,), none negative; the first target is  sum w_k H(x_k) / sum w_k.
    members: which of them may be matched and carried on, in this order.
    """

    latents: Tensor
    weights: Tensor
    members: tuple[int, ...]

    def check(self, count: int, shape: tuple[int, ...]) -> None:
        """Raise ValueError unless this is an ensemble of `count` latents of `shape` with members and weights."""
        if self.latents.shape != (count, *shape) or self.weights.shape != (count,):
            raise ValueError(f"An ensemble of {count} latents of shape {tuple(shape)} was announced, but there are "
                             f"latents of shape {tuple(self.latents.shape)} and {len(self.weights)} weights.")
        if not (self.weights >= 0).all() or not self.weights[list(self.members)].any():
            raise ValueError("An ensemble needs members, weights that are not negative, and a member with a weight "
                             "above 0.")

    def rows(self, denoiser: Denoiser, sigma: float) -> Tensor:
        return self.latents

    def weights_of(self, rows: slice) -> Tensor:
        return self.weights[rows]

    def moving(self, settings: AlignmentSettings, drawn: int | None = None) -> int:
        return min(settings.moving, len(self.members))

    def first(self, denoiser: Denoiser, sigma: float, count: int) -> Tensor:
        return self.latents[list(self.members[:count])]
