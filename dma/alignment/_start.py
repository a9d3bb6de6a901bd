"""A weighted ensemble of latents in the middle of their sampling: what an alignment may start from instead of noise."""
from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
