"""Inverted latents and what the way back needs."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion import Parametrization, paper_scale
from ._method import WayBack
from ._norms import relative_distances


@dataclass(frozen=True)
class Trajectory:
    """Inverted latents and what the way back needs.

    latents: fp32 on the CPU, from clean to noise: of all levels, (S + 1, B, C, H, W), or of the first and the last two
        alone, (3, B, C, H, W), which is all that most need. levels: the noise levels (S + 1), rising.
    companion: one row per latent of whatever `method` carries besides the latent itself, or None.
    start_scale: what noise is multiplied by to be a latent at the highest level, as `diffusion.start_scale` says; None
        is the factor of `diffusion.initial_latent`.
    """

    latents: Tensor
    levels: tuple[float, ...]
    parametrization: Parametrization
    method: WayBack
    companion: Tensor | None = None
    start_scale: float | None = None

    @property
    def scale(self) -> float:
        """The factor from noise to latents at the highest level."""
        if self.start_scale is not None:
            return self.start_scale
        level = self.levels[-1]
        return level if self.parametrization is Parametrization.FLOW else 1 / paper_scale(self.parametrization, level)

    @property
    def noise(self) -> Tensor:
        """z (B, C, H, W), the noise that sampling starts from, of nominal norm sqrt(L)."""
        return self.latents[-1] / self.scale


def ends_of(latents: Sequence[Tensor], top: int = 2) -> list[Tensor]:
    """Of latents from clean to noise the first, and the last `top` of the others.

    >>> ends_of([torch.tensor(level) for level in range(5)])
    [tensor(0), tensor(3), tensor(4)]
    """
    return [latents[0], *latents[max(1, len(latents) - top):]]


# Noise that has been saved and read again, or moved between devices and types, is still a trajectory's own.
OWN_NOISE = 1e-3
# Rows that differ by less are the same noise: what a method draws may be the same for all pictures.
SAME_NOISE = 1e-5


def companions_of(trajectory: Trajectory, noise: Tensor) -> Tensor | None:
    """What a trajectory carries for each latent of noise (B, C, H, W), a row for each of them, or None if nothing.

    That belongs to one latent and no other, so that the noise has to be the trajectory's own: any of its rows, in any
    order. Where several pictures have the same noise, as a method may give them that draws it, their order tells them
    apart. Raises ValueError where a row is none of them, such as a mixture, where some of several pictures of the same
    noise are asked for, and for latents of another size.
    """
    if noise.shape[1:] != trajectory.latents.shape[2:]:
        raise ValueError(f"The latents have shape {tuple(noise.shape[1:])}, but those of the trajectory "
                         f"{tuple(trajectory.latents.shape[2:])}: they have to be of the same size.")
    if trajectory.companion is None:
        return None
    own, noise = trajectory.noise.flatten(1), noise.detach().to("cpu", torch.float32).flatten(1)
    # What is asked for nearly always; only rows that may be any of them have to be compared with all.
    if len(noise) == len(own) and (relative_distances(noise, own) <= SAME_NOISE).all():
        return trajectory.companion
    rows: list[int] = []
    for number, row in enumerate(noise, start=1):
        distances = relative_distances(row, own)  # (N,)
        nearest = int(distances.argmin())
        if not distances[nearest] <= OWN_NOISE:
            raise ValueError(f"The trajectory carries what the method {trajectory.method.name} needs for "
                             f"{len(own)} latents, but latent {number} of {len(noise)} is none of them: it has been "
                             "mixed or changed since, or comes from another inversion.")
        alike = [row for row, near in enumerate(distances <= distances[nearest] + SAME_NOISE) if near]
        if len(alike) > 1 and not all(torch.equal(trajectory.companion[nearest], trajectory.companion[other])
                                      for other in alike):
            if len(noise) != len(own) or number - 1 not in alike:
                raise ValueError(f"Latent {number} is the noise of {len(alike)} pictures alike, which only their order "
                                 f"tells apart, but there are {len(noise)} latents in place of {len(own)}, or they are "
                                 "in another order: take back all of them at once, as they were inverted.")
            nearest = number - 1
        rows.append(nearest)
    return trajectory.companion if rows == list(range(len(own))) else trajectory.companion[rows]
