"""Data of two modes whose exact denoiser is known, and an alignment of them."""
import math

import torch
from toys import LinearGaussian, sigmas

from mental_averages.dma.alignment import AlignmentSettings
from mental_averages.dma.clustering import ClusterSettings
from mental_averages.dma.diffusion import deterministic_step, starting_noise
from mental_averages.dma.solvers import LBFGS

SHAPE = (2, 3, 3)
LEVEL = 6
SETTINGS = AlignmentSettings(count=40, aligned_steps=2, keep=2, seed=3, solver=LBFGS(iterations=60, tolerance=1e-7),
                             carried=2)
MIXTURE = ClusterSettings(2, 2, dimensions=6, covariance="spherical")
LEVELS = sigmas(10)


class TwoModes(LinearGaussian):
    """Data ~ share N(mean, variance I) + (1 - share) N(-mean, variance I), its exact denoiser, and linear features."""

    share = 0.65

    def denoise(self, x, sigma):
        total = self.variance + sigma**2
        means = torch.stack([self.mean, -self.mean])  # (2, C, H, W)
        apart = x[:, None] - means  # (B, 2, C, H, W)
        shares = torch.tensor([self.share, 1 - self.share], device=x.device)
        odds = shares.log() - apart.square().flatten(2).sum(2) / (2 * total)
        found = means + self.variance / total * apart
        return (odds.softmax(1)[:, :, None, None, None] * found).sum(1)


def sampled(denoiser, x, levels):
    """The deterministic ODE, written out."""
    for sigma, sigma_next in zip(levels[:-1].tolist(), levels[1:].tolist()):
        x = deterministic_step(x, denoiser.denoise(x, sigma), sigma, sigma_next)
    return x


def first_latents(levels=LEVELS):
    return starting_noise(40, SHAPE, 3) * math.sqrt(1 + levels[0].item() ** 2)
