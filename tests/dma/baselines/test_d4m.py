"""D4M on data that are known in closed form."""
import math

import pytest
import torch
from toys import LinearGaussian

from mental_averages.dma.baselines import d4m_samples, first_step, minibatch_centroids
from mental_averages.dma.diffusion import NotFiniteError, Parametrization, add_noise, salted_seed, starting_noise
from mental_averages.dma.execution import BatchSize

SHAPE = (2, 3, 3)
SIGMAS = torch.cat([torch.logspace(1, -1.3, 50), torch.zeros(1)])


def test_it_is_image_to_image_from_the_centroid():
    """The exact flow of Gaussian data N(mean, v) keeps (x - mean) / sqrt(v + sigma^2); Euler's steps come near it."""
    denoiser = LinearGaussian(SHAPE)
    centroid = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(3))
    for strength in (0.3, 0.7, 1.0):
        sigma = SIGMAS[50 - round(50 * strength)].item()
        x = centroid + sigma * starting_noise(1, SHAPE, salted_seed(4, "D4M"))
        expected = denoiser.mean + (x - denoiser.mean) * math.sqrt(0.25 / (0.25 + sigma**2))
        found = d4m_samples(denoiser, SIGMAS, centroid, strength=strength, seed=4)
        torch.testing.assert_close(found, expected, rtol=0, atol=0.08)


def test_strength_0_gives_the_centroid_itself():
    centroid = torch.randn(2, *SHAPE)
    assert torch.equal(d4m_samples(LinearGaussian(SHAPE), SIGMAS, centroid, strength=0.0), centroid)


def test_of_separated_clusters_each_becomes_a_picture():
    """Data in two far points: a noised centroid is denoised to its own point, whatever the seed."""
    points = torch.stack([torch.full(SHAPE, 4.0), torch.full(SHAPE, -4.0)])

    class TwoPoints:
        parametrization, device = Parametrization.EPS, torch.device("cpu")

        def denoise(self, x, sigma):
            weights = (-(x[:, None] - points).square().flatten(2).sum(2) / (2 * sigma**2)).softmax(1)  # (B, 2)
            return torch.einsum("bp,pchw->bchw", weights, points)

    labels = torch.tensor([0] * 12 + [1] * 20)
    latents = points[labels] + 0.05 * torch.randn(32, *SHAPE, generator=torch.Generator().manual_seed(0))
    found = minibatch_centroids(latents, 2)
    assert found.counts == (20, 12)
    for seed in range(3):
        pictures = d4m_samples(TwoPoints(), SIGMAS, found.means, seed=seed)
        torch.testing.assert_close(pictures, points[[1, 0]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("parametrization", list(Parametrization))
def test_noise_is_added_by_the_models_own_law(parametrization):
    seen = []

    class Watching:
        device = torch.device("cpu")

        def denoise(self, x, sigma):
            seen.append((x, sigma))
            return x

    Watching.parametrization = parametrization
    levels, centroid = torch.tensor([0.9, 0.6, 0.3, 0.0]), torch.randn(1, *SHAPE)
    d4m_samples(Watching(), levels, centroid, strength=0.7, seed=1)
    x, sigma = seen[0]
    assert sigma == pytest.approx(0.6) and len(seen) == 2
    assert torch.equal(x, add_noise(parametrization, centroid, starting_noise(1, SHAPE, salted_seed(1, "D4M")), sigma))
    # Not what the samples of this seed, of which the centroid may be made, have started from.
    assert not torch.allclose(x, add_noise(parametrization, centroid, starting_noise(1, SHAPE, 1), sigma), atol=0.1)


def test_steps_are_counted_as_diffusers_counts_them():
    assert [first_step(steps, strength) for steps, strength in ((50, 0.7), (20, 0.7), (50, 0.75), (1, 0.7), (3, 1.0))
            ] == [15, 6, 13, 1, 0]
    assert first_step(100, 0.29) == 71  # where 100 * 0.29 is rounded to below 29


def test_batches_and_what_cannot_be(capsys):
    denoiser, centroids = LinearGaussian(SHAPE), torch.randn(3, *SHAPE)
    whole = d4m_samples(denoiser, SIGMAS, centroids)
    torch.testing.assert_close(d4m_samples(denoiser, SIGMAS, centroids, batch=BatchSize(1)), whole)
    with pytest.raises(ValueError, match="strength is 1.1"):
        d4m_samples(denoiser, SIGMAS, centroids, strength=1.1)
    denoiser.mean = denoiser.mean * torch.nan
    with pytest.raises(NotFiniteError, match="Step 16 of 50"):
        d4m_samples(denoiser, SIGMAS, centroids)


@pytest.mark.parametrize("steps, strength", [(1, 0.7), (4, 0.2), (50, 0.01)])
def test_a_strength_that_leaves_no_step_is_refused(steps, strength):
    """The blurred centroid would come back under the name of D4M."""
    levels = torch.cat([torch.linspace(9, 1, steps), torch.zeros(1)])
    with pytest.raises(ValueError, match="less than one step"):
        d4m_samples(LinearGaussian(SHAPE), levels, torch.zeros(1, *SHAPE), strength=strength)
