"""The zero-latent sample, on a denoiser that is known in closed form."""
import pytest
import torch

from mental_averages.dma.baselines import zero_latent_sample
from mental_averages.dma.diffusion import Parametrization, initial_latent, sample, starting_noise
from mental_averages.dma.execution import BatchSize, PassMonitor

SHAPE, SIGMAS = (2, 3, 3), torch.tensor([10.0, 5.0, 2.0, 0.5, 0.0])


class Gaussian:
    """Data of one mean and of variance 0.25, whose exact denoiser is known."""

    parametrization, device = Parametrization.EPS, torch.device("cpu")

    def denoise(self, x, sigma):
        return 1.0 + 0.25 / (0.25 + sigma**2) * (x - 1.0)


def test_it_starts_from_zero_whatever_the_seed():
    found = zero_latent_sample(Gaussian(), SIGMAS, SHAPE)
    assert found.shape == (1, *SHAPE)
    assert torch.equal(found, sample(Gaussian(), torch.zeros(1, *SHAPE), SIGMAS, batch=BatchSize(1)))
    assert torch.equal(zero_latent_sample(Gaussian(), SIGMAS, SHAPE, seed=9), found)


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_noise_is_shrunken_noise_of_the_seed(scale):
    start = initial_latent(Parametrization.EPS, scale * starting_noise(1, SHAPE, 4), 10.0)
    expected = sample(Gaussian(), start, SIGMAS, batch=BatchSize(1))
    assert torch.equal(zero_latent_sample(Gaussian(), SIGMAS, SHAPE, noise_scale=scale, seed=4), expected)


def test_watchers_hear_of_every_step():
    told, events = [], []
    zero_latent_sample(Gaussian(), SIGMAS, SHAPE, watchers=[
        PassMonitor(told.append, "sampling", 4), lambda event, state: events.append(event)])
    assert [progress.fraction for progress in told] == [0.25, 0.5, 0.75, 1.0]
    assert all(progress.preview.shape == (1, *SHAPE) for progress in told) and len(events) == 4
