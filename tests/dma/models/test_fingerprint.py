"""Fingerprints differ where models do, and are made of what the model says."""
import pytest
import torch
from toys import LinearGaussian, sigmas

from mental_averages.dma.diffusion import starting_noise
from mental_averages.dma.models import fingerprint

SHAPE = (2, 3, 3)


def test_answers_are_those_at_the_first_level_and_half_way():
    denoiser, levels = LinearGaussian(), sigmas(8)
    found = fingerprint(denoiser, levels, SHAPE)
    noise, expected = starting_noise(1, SHAPE, 0), []
    for sigma in (levels[0].item(), levels[4].item()):
        expected += [answer(sigma * noise, sigma).flatten() for answer in (denoiser.features, denoiser.denoise)]
    assert torch.equal(found, torch.cat(expected)) and found.shape == (2 * (40 + 18),)


@pytest.mark.parametrize("count", [2, 3, 8, 9, 1000])
def test_predictions_alone_at_the_levels_of_a_whole_model(count):
    """With these a training's states are saved: at the last of rising levels, and at the one in the middle."""
    denoiser, rising = LinearGaussian(), torch.linspace(0.03, 14.6, count)
    found = fingerprint(denoiser, rising.flip(0), SHAPE, features=False, thinned=False)
    noise = starting_noise(1, SHAPE, 0)
    expected = [denoiser.denoise(sigma * noise, sigma).flatten()
                for sigma in (rising[-1].item(), rising[len(rising) // 2].item())]
    assert torch.equal(found, torch.cat(expected)) and denoiser.feature_rows == 0


def test_many_answers_are_thinned():
    shape = (4, 32, 32)
    denoiser, levels = LinearGaussian(shape=shape), sigmas()
    found, whole = (fingerprint(denoiser, levels, shape, thinned=thinned) for thinned in (True, False))
    assert whole.shape == (2 * (40 + 4096),) and 2048 <= len(found) < 2 * 2048
    assert torch.equal(found, whole[::4])


def test_models_differ_in_it():
    one, same, other = (fingerprint(LinearGaussian(seed=seed), sigmas(), SHAPE) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.allclose(one, other)
