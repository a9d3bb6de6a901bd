"""What a model must offer: the clean latent at a noise level, and features at one layer."""
from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .diffusion import Parametrization


class Denoiser(Protocol):
    """A diffusion model with its prompt, guidance and semantic layer already chosen.

    Both methods take latents (B, C, H, W) in fp32 on `device`, as `dma.diffusion` carries them, and one noise level
    for the whole batch. Rows are independent of each other: a batch gives what its rows give alone.
    """

    parametrization: Parametrization
    device: torch.device

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """The guided prediction of the clean latent, (B, C, H, W). No gradient is recorded."""
        ...

    def features(self, x: Tensor, sigma: float) -> Tensor:
        """H(x, sigma): features at the semantic layer, (B, ...) in fp32, differentiable in `x` where it needs grad."""
        ...
