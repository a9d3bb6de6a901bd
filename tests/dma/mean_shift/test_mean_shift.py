"""The average by mean shift, against the closed form of a Gaussian denoiser."""
import math
from dataclasses import replace

import pytest
import torch
from toys import LinearGaussian, sigmas
from two_modes import TwoModes

from mental_averages.dma.diffusion import (
    NoisePairs,
    Parametrization,
    add_noise,
    salted_seed,
    sample,
    starting_noise,
)
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.mean_shift import MeanShiftSettings, Start, mean_shift
from mental_averages.dma.mean_shift._mean_shift import level_seed

SHAPE, LEVELS = (2, 3, 3), sigmas(8)
SETTINGS = MeanShiftSettings(count=48, averaged_steps=3, seed=5)


class Flow(LinearGaussian):
    """The same data under the noise law of flow: x = (1 - sigma) x0 + sigma eps."""

    parametrization = Parametrization.FLOW

    def denoise(self, x, sigma):
        signal, variance = 1 - sigma, self.variance
        return self.mean + variance * signal / (variance * signal**2 + sigma**2) * (x - signal * self.mean)


class OutOfMemory(LinearGaussian):
    def denoise(self, x, sigma):
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().denoise(x, sigma)


@pytest.mark.parametrize("denoiser, levels", [(LinearGaussian(), LEVELS), (Flow(), LEVELS / LEVELS[0])])
def test_closed_form_of_gaussian_data(denoiser, levels):
    """The prediction is linear in the latent, so that the mean of predictions is that of the mean of the noise: of the
    last one of an odd number, because pairs cancel."""
    found = mean_shift(denoiser, levels, SHAPE, replace(SETTINGS, count=49))
    expected = None
    for step, sigma in enumerate(levels[:3].tolist()):
        eps = NoisePairs(49, SHAPE, level_seed(5, step))[0:49]
        start = torch.zeros(1, *SHAPE) if expected is None else expected
        if expected is None and denoiser.parametrization is Parametrization.EPS:
            x = eps.mean(0) * math.sqrt(1 + sigma**2)
        else:
            x = add_noise(denoiser.parametrization, start, eps.mean(0, keepdim=True), sigma)
        expected = denoiser.denoise(x.view(1, *SHAPE), sigma)
        record = found.report.levels[step]
        assert record.sigma == sigma and record.count == 49
        # All that is left is of the noise that has no partner.
        noised = (eps * math.sqrt(1 + sigma**2) if step == 0 and denoiser.parametrization is Parametrization.EPS
                  else add_noise(denoiser.parametrization, start, eps, sigma))
        predicted = denoiser.denoise(noised, sigma).double()
        error = predicted.var(0).sum().sqrt() / 49 / predicted.mean(0).norm()
        assert record.mean_error == pytest.approx(error.item(), rel=1e-3)
    torch.testing.assert_close(found.mean, expected, rtol=1e-5, atol=1e-5)
    finished = sample(denoiser, add_noise(denoiser.parametrization, expected, torch.zeros(1, *SHAPE), levels[3].item()),
                      levels[3:])
    torch.testing.assert_close(found.latents, finished, rtol=1e-5, atol=1e-5)


def test_a_start_that_is_made_of_samples_of_the_seed_does_not_get_their_noise():
    """At step 0 as well: the answers of the first level are those of noises that no sample of the seed began with."""
    denoiser, start = LinearGaussian(), Start.of(torch.full((1, *SHAPE), 2.0), 0)
    once = replace(SETTINGS, count=1, averaged_steps=1)
    found = mean_shift(denoiser, LEVELS, SHAPE, once, start=start).mean
    own, samples = (denoiser.denoise(2 + LEVELS[0] * starting_noise(1, SHAPE, seed), LEVELS[0].item())
                    for seed in (salted_seed(5, "level 0"), 5))
    torch.testing.assert_close(found, own)
    assert not torch.allclose(found, samples, atol=1e-3)


def test_the_error_of_the_mean_and_the_spread_are_those_of_the_drawn_noises():
    denoiser, sigma = TwoModes(), LEVELS[0].item()
    found = mean_shift(denoiser, LEVELS, SHAPE, MeanShiftSettings(count=48, averaged_steps=1, seed=5))
    predicted = denoiser.denoise(NoisePairs(48, SHAPE, 5)[0:48] * math.sqrt(1 + sigma**2), sigma).double()
    record, pairs = found.report.levels[0], predicted.view(24, 2, *SHAPE).mean(1)
    expected = (pairs.var(0).sum() / 24).sqrt() / predicted.mean(0).norm()
    assert record.mean_error == pytest.approx(expected.item(), rel=1e-5) and record.moved is None
    spread = (predicted - predicted.mean(0)).square().sum((1, 2, 3)).mean().sqrt() / math.sqrt(18)
    assert record.spread == pytest.approx(spread.item(), rel=1e-5)
    # Whose deviations fall short of the variance by that of their mean, which is known from pairs.
    variance = (predicted - predicted.mean(0)).square().mean(0) + pairs.var(0) / 24
    torch.testing.assert_close(found.spread, variance.sqrt().float(), rtol=1e-4, atol=1e-6)


def test_the_spread_is_that_of_the_predictions_however_few_noises():
    """Of a linear prediction pairs cancel, and the spread of Gaussian data is known: a few noises find it, on average
    over places and seeds."""
    denoiser, sigma = LinearGaussian(), LEVELS[0].item()
    gain = denoiser.denoise(torch.ones(1, *SHAPE), sigma) - denoiser.denoise(torch.zeros(1, *SHAPE), sigma)
    found = torch.stack([mean_shift(denoiser, LEVELS, SHAPE, MeanShiftSettings(count=4, averaged_steps=1, seed=seed))
                         .spread.square() for seed in range(300)]).mean(0)
    expected = (gain[0] * math.sqrt(1 + sigma**2)).square()
    assert (found / expected).mean().item() == pytest.approx(1, abs=0.05)


def test_the_mean_of_the_data_is_its_fixed_point():
    denoiser = LinearGaussian()
    found = mean_shift(denoiser, LEVELS, SHAPE, MeanShiftSettings(count=20000, averaged_steps=2),
                       start=Start(denoiser.mean[None], 2), batch=BatchSize(5000))
    assert all(record.moved < 0.01 for record in found.report.levels)
    torch.testing.assert_close(found.latents[0], denoiser.mean, rtol=0, atol=0.02)


def test_seeds_agree_the_better_the_more_noises():
    apart = {}
    for count in (16, 1024):
        settings = [MeanShiftSettings(count=count, seed=seed, averaged_steps=1) for seed in range(8)]
        means = torch.cat([mean_shift(TwoModes(), LEVELS, SHAPE, each).mean for each in settings])
        apart[count] = means.std(0).norm().item()
    assert apart[1024] < apart[16] / 4  # sqrt(64) is 8


def test_of_two_modes_it_ends_in_the_larger_whatever_the_seed():
    denoiser = TwoModes()
    for seed in range(4):
        found = mean_shift(denoiser, sigmas(12), SHAPE, MeanShiftSettings(count=64, averaged_steps=6, seed=seed))
        near, far = ((found.latents[0] - sign * denoiser.mean).norm() for sign in (1, -1))
        assert near < 0.5 * far


@pytest.mark.parametrize("size", [1, 7, 48])
@pytest.mark.parametrize("mean_error", [0.0, 0.2])
def test_the_result_does_not_depend_on_batches(size, mean_error):
    settings = MeanShiftSettings(count=100, averaged_steps=3, seed=5, mean_error=mean_error)
    reference = mean_shift(TwoModes(), LEVELS, SHAPE, settings, batch=BatchSize(100))
    found = mean_shift(TwoModes(), LEVELS, SHAPE, settings, batch=BatchSize(size))
    torch.testing.assert_close(found.latents, reference.latents, rtol=1e-5, atol=1e-6)
    assert [level.count for level in found.report.levels] == [level.count for level in reference.report.levels]


def test_running_out_of_memory_makes_batches_smaller():
    found = mean_shift(OutOfMemory(), LEVELS, SHAPE, SETTINGS)
    torch.testing.assert_close(found.latents, mean_shift(LinearGaussian(), LEVELS, SHAPE, SETTINGS).latents, rtol=1e-5,
                               atol=1e-6)


def test_the_error_decides_how_many_noises_are_taken():
    settings = MeanShiftSettings(count=4000, averaged_steps=2, mean_error=0.05)
    found = mean_shift(TwoModes(), LEVELS, SHAPE, settings, batch=BatchSize(50))
    for record in found.report.levels:
        assert record.count % 16 == 0 and 16 <= record.count < 4000 and record.mean_error <= 0.05


def test_restored_noise_is_the_same_for_every_seed_or_each_ones_own():
    def noise_of(seed, **change):
        settings = MeanShiftSettings(count=16, averaged_steps=2, seed=seed, **change)
        with_noise = mean_shift(Still(), LEVELS, SHAPE, settings).latents
        without = mean_shift(Still(), LEVELS, SHAPE, MeanShiftSettings(count=16, averaged_steps=2, seed=seed)).latents
        return with_noise - without

    shared = noise_of(1, restored_noise=0.5)
    torch.testing.assert_close(shared, noise_of(2, restored_noise=0.5), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(noise_of(1, restored_noise=1.0), 2 * shared, rtol=1e-3, atol=1e-4)
    own = noise_of(1, restored_noise=0.5, shared_noise=False)
    assert (own - noise_of(2, restored_noise=0.5, shared_noise=False)).norm() > 0.5 * own.norm()
    several = mean_shift(Still(), LEVELS, SHAPE, MeanShiftSettings(count=4, restored_noise=1.0, keep=3)).latents
    assert len(several) == 3 and not torch.equal(several[0], several[1])


class Still(LinearGaussian):
    """Takes a latent for what it is, up to a tenth: what is restored goes through to the end."""

    def denoise(self, x, sigma):
        return 0.9 * x


def test_averaged_levels_may_have_a_denoiser_of_their_own():
    found = mean_shift(LinearGaussian(seed=1), LEVELS, SHAPE, SETTINGS, averaging=LinearGaussian(seed=0))
    averaged = mean_shift(LinearGaussian(seed=0), LEVELS, SHAPE, SETTINGS)
    assert torch.equal(found.mean, averaged.mean) and not torch.equal(found.latents, averaged.latents)


def test_a_start_is_the_weighted_mean_of_clean_latents():
    clean = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    start = Start.of(clean, 4, torch.tensor([1.0, 0.0, 3.0]))
    torch.testing.assert_close(start.mean, (0.25 * clean[:1] + 0.75 * clean[2:]))
    torch.testing.assert_close(Start.of(clean, 4).mean, clean.mean(0, keepdim=True))
    for weights in (torch.ones(2), torch.tensor([1.0, -1.0, 1.0]), torch.zeros(3),
                    torch.tensor([1.0, torch.inf, 1.0])):
        with pytest.raises(ValueError, match="as many weights"):
            Start.of(clean, 4, weights)


class Broken(LinearGaussian):
    """Gives NaN at one noise level."""

    def __init__(self, level):
        super().__init__()
        self.level = level

    def denoise(self, x, sigma):
        return super().denoise(x, sigma) * (math.nan if sigma == self.level else 1)


@pytest.mark.parametrize("step", [0, 2, 3, 6])
def test_what_is_not_finite_names_its_step_of_the_whole_schedule(step):
    with pytest.raises(ValueError, match=f"Step {step + 1} of 8: .* NaN or infinity"):
        mean_shift(Broken(LEVELS[step].item()), LEVELS, SHAPE, SETTINGS)
