import dataclasses

import pytest
import torch
from two_modes import LEVEL, LEVELS, MIXTURE, SETTINGS, SHAPE, TwoModes, first_latents, sampled

from mental_averages.dma.alignment import align_mixture
from mental_averages.dma.alignment._mixture_state import Exploration
from mental_averages.dma.clustering import ClusterSettings
from mental_averages.dma.diffusion import salted_seed, starting_noise
from mental_averages.dma.execution import BatchSize


def test_each_mode_of_two_gaussians_has_its_own_average():
    """Linear, injective features: the average of a mode is the path of its mean latent, which ends near its Gaussian's
    mean."""
    denoiser = TwoModes()
    found = align_mixture(denoiser, LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL)
    samples = sampled(denoiser, first_latents(), LEVELS)
    torch.testing.assert_close(found.samples, samples)
    is_second = (samples * denoiser.mean).flatten(1).sum(1) < 0
    assert 0 < is_second.sum() < 20
    assert torch.equal(found.clusters.labels, is_second.long()), "the mixture finds the true modes, the larger first"

    at_level = sampled(denoiser, first_latents(), LEVELS[: LEVEL + 1])
    for mode, sign in ((0, 1), (1, -1)):
        weights = found.clusters.responsibilities[:, mode].float()
        mean = torch.tensordot(weights / weights.sum(), at_level, 1)
        expected = sampled(denoiser, mean[None], LEVELS[LEVEL:])
        torch.testing.assert_close(found.latents[mode], expected.expand(2, *SHAPE), rtol=0, atol=5e-3)
        # Nearer to the middle of its Gaussian than any of its samples is.
        apart = (samples[found.clusters.labels == mode] - sign * denoiser.mean).flatten(1).norm(dim=1)
        assert (found.latents[mode][0] - sign * denoiser.mean).norm() < apart.min()


def test_samples_from_elsewhere_are_brought_to_the_level_by_noise():
    """Data drawn from the two Gaussians: each average ends nearer to the middle of its own than the data are."""
    denoiser = TwoModes()
    noise = starting_noise(40, SHAPE, 11)
    truth = (torch.arange(40) % 3 == 0).long()
    samples = denoiser.variance**0.5 * noise + (1 - 2 * truth)[:, None, None, None] * denoiser.mean
    found = align_mixture(denoiser, LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL, samples=samples)
    assert torch.equal(found.clusters.labels, truth) and found.samples is samples and found.report.in_own_mode == 2
    at_level = samples + LEVELS[LEVEL] * starting_noise(40, SHAPE, salted_seed(SETTINGS.seed, "given samples"))
    for mode, sign in ((0, 1), (1, -1)):
        weights = found.clusters.responsibilities[:, mode].float()
        mean = torch.tensordot(weights / weights.sum(), at_level, 1)
        torch.testing.assert_close(found.latents[mode][:1], sampled(denoiser, mean[None], LEVELS[LEVEL:]), rtol=0,
                                   atol=5e-3)
        apart = (samples[truth == mode] - sign * denoiser.mean).flatten(1).norm(dim=1)
        assert (found.latents[mode][0] - sign * denoiser.mean).norm() < apart.min()


def test_samples_of_the_same_seed_do_not_get_back_what_they_were_made_of():
    denoiser, sigma = TwoModes(), LEVELS[LEVEL].item()
    samples = sampled(denoiser, first_latents(), LEVELS)
    for seed in (3, 4):  # that of the samples, and another
        noise = (Exploration.of_samples(denoiser, samples, sigma, seed, 10).at_level - samples) / sigma
        alike = torch.nn.functional.cosine_similarity(noise.flatten(), starting_noise(40, SHAPE, 3).flatten(), dim=0)
        assert noise.std().item() == pytest.approx(1, abs=0.05) and alike.abs() < 0.15


def test_one_component_is_the_average_of_all_from_the_level_on():
    denoiser = TwoModes()
    found = align_mixture(denoiser, LEVELS, SHAPE, SETTINGS, ClusterSettings(1, 1), LEVEL)
    mean = sampled(denoiser, first_latents(), LEVELS[: LEVEL + 1]).mean(0)
    torch.testing.assert_close(found.latents[0], sampled(denoiser, mean[None], LEVELS[LEVEL:]).expand(2, *SHAPE),
                               rtol=0, atol=5e-3)
    assert len(found.latents) == 1 and found.report.modes[0].effective_count == pytest.approx(40)


def test_result_does_not_depend_on_batch_size():
    reference = align_mixture(TwoModes(), LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL)
    found = align_mixture(TwoModes(), LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL, batch=BatchSize(3))
    for mode in range(2):
        torch.testing.assert_close(found.latents[mode], reference.latents[mode], rtol=1e-3, atol=1e-3)
    assert torch.equal(found.clusters.labels, reference.clusters.labels)


@pytest.mark.parametrize("change, level, message", [
    (dict(), 10, "choose an earlier level"), (dict(aligned_steps=7), 6, "only 4 of 10 steps are left"),
    (dict(count=1), 4, "at least two pictures"), (dict(count=0), 4, "at least 1 latent"),
    (dict(carried=-1), 4, "carried is -1")])
def test_bad_settings_are_refused_before_any_work(change, level, message):
    denoiser = TwoModes()
    denoiser.denoise = None
    with pytest.raises(ValueError, match=message):
        align_mixture(denoiser, LEVELS, SHAPE, dataclasses.replace(SETTINGS, **change), MIXTURE, level)
