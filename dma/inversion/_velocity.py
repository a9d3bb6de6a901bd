"""The velocity of the probability-flow ODE, as a Denoiser predicts it."""
from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from ..diffusion import Denoiser, EmbeddingDenoiser, Parametrization, of_rows, paper_scale, rounding_of

# At level 0 a clean prediction says nothing of the velocity, so a model that is to be asked there is asked here.
SMALLEST_LABEL = 1e-3


class Velocity:
    """d(x, sigma) = dx/dsigma as a Denoiser predicts it, for tensors on the CPU; counts what it took."""

    def __init__(self, denoiser: Denoiser, whole: Velocity | None = None):
        self.denoiser, self.parametrization, self.calls, self.whole = denoiser, denoiser.parametrization, 0, whole

    @property
    def rounding(self) -> float:
        """About how far its values are from exact ones, relative to them, as far as the Denoiser knows."""
        return rounding_of(self.denoiser)

    def of(self, rows: slice | Sequence[int]) -> Velocity:
        """The velocity of some of its latents, by their numbers; what it takes counts here as well."""
        return Velocity(of_rows(self.denoiser, rows), self)

    def __call__(self, x: Tensor, level: float, label: float | None = None, embedding: Tensor | None = None) -> Tensor:
        """The velocity (B, C, H, W) at latents `x` of noise level `level`, in the dtype of `x`.

        label: the noise level that the network is told (its timestep), where that is another one. It still sees the
            latent as it is at `level`: x / sqrt(1 + level^2) for eps and v models, x for flow.
        embedding: the unconditional embedding (B, T, D) to use, for a Denoiser that offers `denoise_with`.
        """
        self._count(len(x))
        label = max(level if label is None else label, SMALLEST_LABEL)
        alpha, alpha_label = (paper_scale(self.parametrization, sigma) for sigma in (level, label))
        seen = (x * (alpha / alpha_label)).to(torch.float32).to(self.denoiser.device)
        if embedding is None:
            denoised = self.denoiser.denoise(seen, label)
        else:
            denoised = cast(EmbeddingDenoiser, self.denoiser).denoise_with(seen, label, embedding.to(seen))
        if self.parametrization is Parametrization.V:
            v = (seen * alpha_label**2 - denoised) / (label * alpha_label)
            return alpha * v.to(x.device).to(x.dtype) + level * alpha**2 * x  # eps = sqrt(abar) v + sqrt(1 - abar) z
        # Moved first: x may be in fp64, which the Denoiser's device need not have.
        return ((seen - denoised) / label).to(x.device).to(x.dtype)

    def _count(self, calls: int) -> None:
        self.calls += calls
        if self.whole is not None:
            self.whole._count(calls)
