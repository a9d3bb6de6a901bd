"""Mode guidance: the step against diffusers, the pull by its sign and size, on data that are known in closed form."""
import math

import pytest
import torch
from toys import LinearGaussian

from mental_averages.dma.baselines import mode_guided_samples
from mental_averages.dma.diffusion import NotFiniteError, Parametrization
from mental_averages.dma.execution import BatchSize

SHAPE = (2, 3, 3)
SIGMAS = torch.cat([torch.logspace(1, -1.3, 50), torch.zeros(1)])


def test_an_unguided_step_is_the_one_of_diffusers():
    """DDPMScheduler with the variance fixed_small, in the papers' units, along all of its schedule."""
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                              clip_sample=False, timestep_spacing="leading", steps_offset=1)
    scheduler.set_timesteps(50)
    bars = scheduler.alphas_cumprod.double()
    levels = ((1 - bars) / bars).sqrt()[scheduler.timesteps]
    denoiser = LinearGaussian(SHAPE)
    # From step to step with the scheduler's own noise, which the last one does without.
    generator = torch.Generator().manual_seed(7)
    z = torch.randn(1, *SHAPE, generator=generator)
    for step, time in enumerate(scheduler.timesteps[:-1]):
        sigma = levels[step].item()
        x = z * math.sqrt(1 + sigma**2)
        predicted = (x - denoiser.denoise(x, sigma)) / sigma
        z = scheduler.step(predicted, time, z, generator=generator).prev_sample
    sigma = levels[-1].item()
    expected = denoiser.denoise(z * math.sqrt(1 + sigma**2), sigma)
    found = mode_guided_samples(denoiser, torch.cat([levels, torch.zeros(1)]).float(), torch.ones(1, *SHAPE),
                                strength=0.0, seed=7)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("parametrization, sigma, following", [
    (Parametrization.EPS, 5.0, 3.0), (Parametrization.V, 5.0, 3.0), (Parametrization.FLOW, 0.8, 0.5),
    (Parametrization.FLOW, 1.0, 0.9)])
def test_a_step_is_moved_towards_the_mode_by_strength_deviations(parametrization, sigma, following):
    clean = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1))

    class Constant:
        device = torch.device("cpu")

        def denoise(self, x, sigma):
            return clean.expand_as(x)

    Constant.parametrization = parametrization
    mode, levels = torch.randn(1, *SHAPE), torch.tensor([sigma, following])
    plain = mode_guided_samples(Constant(), levels, mode, strength=0.0, seed=2)
    guided = mode_guided_samples(Constant(), levels, mode, strength=0.1, guided_share=1.0, seed=2)
    if parametrization is Parametrization.FLOW:
        ratio = following * (1 - sigma) / ((1 - following) * sigma)
    else:
        ratio = following / sigma
    deviation = following * math.sqrt(1 - ratio**2)
    torch.testing.assert_close(guided - plain, 0.1 * deviation * (mode - clean), rtol=0, atol=1e-5)


@pytest.mark.parametrize("parametrization", [Parametrization.EPS, Parametrization.FLOW])
def test_unguided_samples_are_those_of_the_data(parametrization):
    """Data N(mean, 0.25): many fine ancestral steps give their mean and variance."""
    class Gaussian:
        device = torch.device("cpu")

        def denoise(self, x, sigma):
            signal = 1 - sigma if parametrization is Parametrization.FLOW else 1.0
            return 2 + 0.25 * signal / (0.25 * signal**2 + sigma**2) * (x - signal * 2)

    Gaussian.parametrization = parametrization
    levels = (torch.linspace(1, 0, 401) if parametrization is Parametrization.FLOW
              else torch.cat([torch.logspace(1.5, -2, 400), torch.zeros(1)]))
    found = mode_guided_samples(Gaussian(), levels, torch.zeros(4000, 1, 1, 1), strength=0.0, seed=3)
    assert found.mean().item() == pytest.approx(2, abs=0.04)
    assert found.std().item() == pytest.approx(0.5, abs=0.03)


def test_guidance_leads_to_the_mode_and_the_more_the_stronger():
    """On Gaussian data everything is linear, so that the mean over noises is what the noise 0 gives; the pull adds up
    to a share of the way to the mode, with the same sign everywhere."""
    denoiser = LinearGaussian(SHAPE)
    mode = denoiser.mean[None] + torch.tensor([1.0, -1.0])[None, :, None, None]
    plain = mode_guided_samples(denoiser, SIGMAS, mode, strength=0.0, seed=5)
    shares = []
    for strength in (0.05, 0.1, 0.2):
        moved = mode_guided_samples(denoiser, SIGMAS, mode, strength=strength, seed=5) - plain
        away = mode_guided_samples(denoiser, SIGMAS, mode, strength=-strength, seed=5) - plain
        assert (moved * (mode - denoiser.mean) > 0).all() and (away * (mode - denoiser.mean) < 0).all()
        shares.append((moved / (mode - denoiser.mean)).mean().item())
    assert 0 < shares[0] < shares[1] < shares[2] < 1


def test_the_second_half_is_the_models_own():
    denoiser, mode, seen = LinearGaussian(SHAPE), torch.full((1, *SHAPE), 5.0), []
    plain = denoiser.denoise

    def watched(x, sigma):
        seen.append(x)
        return plain(x, sigma)

    denoiser.denoise = watched
    levels = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5, 0.0])
    trajectories = []
    for share in (0.0, 0.4, 1.0):
        seen.clear()
        mode_guided_samples(denoiser, levels, mode, strength=0.3, guided_share=share, seed=6)
        trajectories.append(torch.cat(seen))
    unguided, early, always = trajectories
    assert torch.equal(early[:3], always[:3]) and not torch.equal(early[3], always[3])
    assert torch.equal(unguided[:1], early[:1]) and not torch.equal(unguided[1], early[1])


def test_batches_and_what_cannot_be():
    denoiser, modes = LinearGaussian(SHAPE), torch.randn(3, *SHAPE)
    whole = mode_guided_samples(denoiser, SIGMAS, modes)
    torch.testing.assert_close(mode_guided_samples(denoiser, SIGMAS, modes, batch=BatchSize(1)), whole)
    with pytest.raises(ValueError, match="strength is nan"):
        mode_guided_samples(denoiser, SIGMAS, modes, strength=math.nan)
    with pytest.raises(ValueError, match="guided_share is 2"):
        mode_guided_samples(denoiser, SIGMAS, modes, guided_share=2)
    with pytest.raises(ValueError, match="NaN"):
        mode_guided_samples(denoiser, SIGMAS, modes * torch.nan)
    denoiser.mean = denoiser.mean * torch.nan
    with pytest.raises(NotFiniteError, match="Step 1 of 50"):
        mode_guided_samples(denoiser, SIGMAS, modes)
