"""Mixtures of Gaussians whose family trees are known."""
import torch
from toys import LinearGaussian, sigmas

from mental_averages.dma.mean_shift import Cut, FamilySettings, MeanShiftSettings, TreeSettings

SHAPE, LEVELS = (1, 2, 2), sigmas(20, largest=20.0, smallest=0.1)


class Mixture(LinearGaussian):
    """Data ~ equal shares of N(mean_i, variance I), and its exact denoiser."""

    def __init__(self, means, variance=0.01):
        super().__init__(SHAPE)
        self.means, self.variance, self.asked = means, variance, 0

    def denoise(self, x, sigma):
        self.asked += len(x)
        total = self.variance + sigma**2
        apart = x[:, None] - self.means
        found = self.means + self.variance / total * apart
        odds = -apart.square().flatten(2).sum(2) / (2 * total)
        return (odds.softmax(1)[:, :, None, None, None] * found).sum(1)

    def samples(self, count, seed=0):
        generator = torch.Generator().manual_seed(seed)
        own = torch.arange(count) % len(self.means)
        return self.means[own] + self.variance**0.5 * torch.randn(count, *SHAPE, generator=generator), own


def places(*numbers):
    """Means that lie apart along one number of a latent."""
    found = torch.zeros(len(numbers), *SHAPE)
    found[:, 0, 0, 0] = torch.tensor(numbers)
    return found


def step_near(sigma):
    return int((LEVELS[:-1] - sigma).abs().argmin())


FAMILY = Mixture(places(-6.0, -4.0, 4.0, 6.0))
STEPS = tuple(step_near(sigma) for sigma in (0.3, 2.0, 8.0))
SETTINGS = FamilySettings(24, 5, TreeSettings(steps=STEPS, count=16, iterations=30),
                          MeanShiftSettings(count=8, averaged_steps=3), Cut(modes=2))
