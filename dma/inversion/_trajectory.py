"""Inverted latents and what the way back needs."""
from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..diffusion import Parametrization, noise_of
from ._method import WayBack


@dataclass(frozen=True)
class Trajectory:
    """Inverted latents and what the way back needs.

    latents: (S + 1, B, C, H, W) fp32 on the CPU, from clean to noise. levels: their noise levels (S + 1), rising.
    companion: one row per latent of whatever `method` carries besides the latent itself, or None.
    """

    latents: Tensor
    levels: tuple[float, ...]
    parametrization: Parametrization
    method: WayBack
    companion: Tensor | None = None

    @property
    def noise(self) -> Tensor:
        """z (B, C, H, W), the noise that sampling starts from, of nominal norm sqrt(L)."""
        return noise_of(self.parametrization, self.latents[-1], self.levels[-1])


def check_fit(trajectory: Trajectory, noise: Tensor) -> None:
    """Raise ValueError where noise (B, C, H, W) cannot be taken back along a trajectory.

    What a trajectory carries for each of its latents needs as many of them, in the same order.
    """
    if trajectory.companion is not None and len(trajectory.companion) != len(noise):
        raise ValueError(f"The trajectory carries what the method {trajectory.method.name} needs for "
                         f"{len(trajectory.companion)} latents, but there are {len(noise)} to sample.")
    if noise.shape[1:] != trajectory.latents.shape[2:]:
        raise ValueError(f"The latents have shape {tuple(noise.shape[1:])}, but those of the trajectory "
                         f"{tuple(trajectory.latents.shape[2:])}: they have to be of the same size.")
