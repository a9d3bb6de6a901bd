"""Small denoisers whose behaviour is known in closed form."""
import torch

from mental_averages.dma.diffusion import Parametrization


class LinearGaussian:
    """Data ~ N(mean, variance I) and features that are a linear map of the latent in the papers' units.

    The exact denoiser of Gaussian data is x0 = mean + variance / (variance + sigma^2) (x - mean) for eps and v models;
    features are M z with z = x / sqrt(1 + sigma^2).
    """

    parametrization = Parametrization.EPS
    device = torch.device("cpu")

    def __init__(self, shape=(2, 3, 3), features=40, seed=0, variance=0.25, dtype=torch.float32):
        generator = torch.Generator().manual_seed(seed)
        size = torch.Size(shape).numel()
        self.matrix = torch.randn(features, size, generator=generator, dtype=torch.float64).to(dtype) / size**0.5
        self.mean = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        self.variance = variance
        self.largest_batch = 0
        self.feature_rows = 0

    def denoise(self, x, sigma):
        return self.mean + self.variance / (self.variance + sigma**2) * (x - self.mean)

    def features(self, x, sigma):
        self.largest_batch = max(self.largest_batch, len(x))
        self.feature_rows += len(x)
        return x.flatten(1) / (1 + sigma**2) ** 0.5 @ self.matrix.T


class Biased(LinearGaussian):
    """Features whose mean over standard normal latents is not zero: its error falls with their number."""

    def features(self, x, sigma):
        return super().features(x, sigma) + 1



def sigmas(steps=8, largest=10.0, smallest=0.05):
    """Falling noise levels with a final 0."""
    ramp = torch.linspace(0, 1, steps)
    levels = (largest ** (1 / 3) + ramp * (smallest ** (1 / 3) - largest ** (1 / 3))) ** 3
    return torch.cat([levels, torch.zeros(1)])
