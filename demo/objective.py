"""What the demo denoiser is trained on: noise levels, noise, and the weight of its error at each level.

The network predicts the noise, because that is how ComfyUI reads a Stable Diffusion 1.5 checkpoint: nothing in its
file can say that it predicts a velocity. The error of the velocity that follows from predicted noise,
v = (eps - sqrt(1 - a) x) / sqrt(a), is that of the noise over sqrt(a), so that a velocity's loss is one of the noise
with another weight (`velocity`). Here a is the cumulative product of alphas.
"""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

TIMESTEPS = 1000
GROUP = 128  # pictures among which noise is assigned: an assignment costs the cube of it
MOST = 20.0  # of the velocity's weight, which would reach 214


def alphas_cumprod() -> Tensor:
    """The noise schedule of Stable Diffusion 1.5 (scaled linear betas), (1000,)."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0).float()


def _min_snr(alphas: Tensor) -> Tensor:
    """Min-SNR weighting with gamma 5 (arXiv:2303.09556)."""
    signal_to_noise = alphas / (1 - alphas)
    return signal_to_noise.clamp(max=5.0) / signal_to_noise


WEIGHTS = {"noise": torch.ones_like, "min-snr": _min_snr, "velocity": lambda alphas: (1 / alphas).clamp(max=MOST)}


def loss_weights(name: str) -> Tensor:
    """Weights (1000,) of the squared error of the predicted noise."""
    return WEIGHTS[name](alphas_cumprod())


def draw_shares(count: int, generator: torch.Generator) -> Tensor:
    """Numbers (count,) in [0, 1], one from each of as many strata, rising, on the generator's device."""
    device = generator.device
    return (torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)) / count


def draw_times(count: int, generator: torch.Generator) -> Tensor:
    """Time steps (count,), one from each of as many strata."""
    return (draw_shares(count, generator) * TIMESTEPS).long().clamp(max=TIMESTEPS - 1)


def assigned(noise: Tensor, clean: Tensor, group: int = GROUP) -> Tensor:
    """The rows of `noise` (B, ...) in the order in which they lie nearest to those of `clean`: immiscible diffusion
    (arXiv:2406.12303), eq. 5, within groups of rows.

    The sum of distances of a group is the least possible (linear sum assignment, SciPy). Rows are only exchanged, so
    that the noise of a batch stays what was drawn.
    """
    from scipy.optimize import linear_sum_assignment

    order = torch.arange(len(noise))
    for first in range(0, len(noise), group):
        rows = slice(first, first + group)
        distances = torch.cdist(clean[rows].flatten(1).float(), noise[rows].flatten(1).float())  # (G, G)
        order[rows] = first + torch.from_numpy(linear_sum_assignment(distances.cpu().numpy().astype(np.float64))[1])
    return noise[order.to(noise.device)]
