"""Models whose ODE is smooth, or known in closed form, for what inverts it; and latents and schedules for them."""
import math

import torch

from mental_averages.dma.diffusion import Parametrization, denoised_from_output, paper_scale

FLOW = Parametrization.FLOW


class Network:
    """A smooth network of 4 channels that knows its timestep, as a Denoiser of each parametrisation."""

    device = torch.device("cpu")

    def __init__(self, parametrization, sigmas_of_timesteps=None, strength=0.4):
        self.parametrization, self.table, self.strength = parametrization, sigmas_of_timesteps, strength
        self.matrix = torch.randn(4, 4, generator=torch.Generator().manual_seed(5)) / 2
        self.told = []

    def output(self, z, timestep):
        time = float(timestep) / 1000
        mixed = torch.einsum("cd,bdhw->bchw", self.matrix, z.roll(1, dims=3))
        return 0.5 * z + self.strength * (1 + time) * torch.tanh(mixed + time)

    def denoise(self, x, sigma):
        timestep = 1000 * sigma if self.table is None else int((self.table.log() - math.log(sigma)).abs().argmin())
        self.told.append(timestep)
        output = self.output(x * paper_scale(self.parametrization, sigma), timestep)
        return denoised_from_output(self.parametrization, output, x, sigma)


class Shifted(Network):
    """A Network whose latents have something of their own each, which moves their predictions."""

    def __init__(self, parametrization, shifts):
        super().__init__(parametrization)
        self.shifts = shifts  # (B,)

    def of(self, rows):
        return Shifted(self.parametrization, self.shifts[list(rows)])

    def denoise(self, x, sigma):
        assert len(x) == len(self.shifts)
        return super().denoise(x, sigma) + self.shifts[:, None, None, None]


class Gaussian:
    """Data ~ N(mean, diag(variance)): the exact clean prediction, and the exact map of its ODE."""

    device = torch.device("cpu")

    def __init__(self, parametrization):
        self.parametrization = parametrization
        generator = torch.Generator().manual_seed(0)
        self.mean, self.variance = torch.randn(2, 3, 3,
                                               generator=generator), 0.1 + torch.rand(2, 3, 3, generator=generator)

    def marginal(self, sigma):
        """Mean and standard deviation at a noise level."""
        signal = 1 - sigma if self.parametrization is FLOW else 1.0
        return signal * self.mean, (signal**2 * self.variance + sigma**2).sqrt()

    def denoise(self, x, sigma):
        signal = 1 - sigma if self.parametrization is FLOW else 1.0
        centre, deviation = self.marginal(sigma)
        return self.mean + signal * self.variance / deviation**2 * (x - centre)

    def transported(self, clean, sigma):
        """Where the ODE takes a clean latent: the same quantile of the marginal."""
        centre, deviation = self.marginal(sigma)
        return centre + deviation * (clean - self.mean) / self.variance.sqrt()


def pictures(count=3, channels=4, seed=1, size=3):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def schedule(parametrization, steps):
    if parametrization is FLOW:
        return torch.linspace(1, 0, steps + 1)
    ramp = torch.linspace(0, 1, steps)
    return torch.cat([(14.6 ** (1 / 3) + ramp * (0.05 ** (1 / 3) - 14.6 ** (1 / 3))) ** 3, torch.zeros(1)])
