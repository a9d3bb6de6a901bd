import math

import pytest
import torch
from noise_latents import BIAS, biased

from mental_averages.dma import interpolation
from mental_averages.dma.interpolation import _noise_bias


def test_common_energy_is_unbiased_where_there_is_none():
    found = torch.tensor([interpolation.common_energy(torch.randn(4, 4, 8, 8,
                                                                      generator=torch.Generator().manual_seed(seed)))
                          for seed in range(400)])
    assert abs(found.mean()) < 4 * found.std() / 20 and (found < 0).any()


def test_channel_means_of_centroids_grow_with_the_square_root_of_their_number():
    latents, counts = biased(64, shape=(4, 32, 32)), [1, 2, 4, 8, 16, 32]
    growth = interpolation.channel_mean_growth(latents, counts, subsets=64, seed=0)
    assert [len(means) for means in growth.channel_means] == [64] * 6
    saturated = [1 / math.sqrt(BIAS.square().mean().item() + 1 / count) for count in counts]
    for averaged, alpha, factors in zip(growth.averaged, saturated, growth.amplification):
        torch.testing.assert_close(averaged, alpha * BIAS.double(), rtol=0, atol=0.03 * alpha)
        assert factors.mean().item() == pytest.approx(alpha, rel=0.05)
    _, fit = interpolation.square_root_fit(counts, growth.averaged)
    assert fit > 0.9
    adjusted = interpolation.channel_mean_growth(latents, counts, subsets=64, seed=0, mean_adjustment="channel")
    torch.testing.assert_close(adjusted.averaged[-1], BIAS.double(), rtol=0, atol=0.02)
    again = interpolation.channel_mean_growth(latents, counts, subsets=64, seed=0)
    assert torch.equal(again.averaged, growth.averaged)


def test_the_fit_tells_the_law_from_another():
    counts = [1, 2, 4, 8, 16]
    slopes = torch.tensor([0.3, -0.2], dtype=torch.float64)
    roots = torch.tensor(counts, dtype=torch.float64).sqrt()[:, None]
    found, fit = interpolation.square_root_fit(counts, roots * slopes)
    torch.testing.assert_close(found, slopes)
    assert fit == pytest.approx(1)
    assert interpolation.square_root_fit(counts, roots**4 * slopes)[1] < 0.9
    assert math.isnan(interpolation.square_root_fit([1], torch.ones(1, 2))[1])


@pytest.mark.parametrize("counts, subsets", [([1, 8], 2), ([0, 2], 2), ([1, 2], 0)])
def test_centroids_of_more_latents_than_there_are(counts, subsets):
    with pytest.raises(ValueError, match="there are 4 latents"):
        interpolation.channel_mean_growth(biased(4), counts, subsets=subsets, seed=0)


def test_a_mean_of_zero_is_amplified_without_end():
    latents = torch.cat([biased(1), -biased(1)])
    assert _noise_bias.amplification(latents) == math.inf and math.isnan(_noise_bias.independent_inputs(latents))
    assert interpolation.common_energy(latents) < 0 and math.isnan(interpolation.common_energy(latents[:1]))


def test_a_mean_of_zero_up_to_rounding_is_a_mean_of_zero():
    latents = biased(2).double()
    latents = torch.cat([latents, -latents.sum(0, keepdim=True) * (1 + 2**-52)])
    assert latents.mean(0).any(), "the point of this test is gone: nothing is left by itself"
    assert _noise_bias.amplification(latents) == math.inf and math.isnan(_noise_bias.independent_inputs(latents))


def test_copies_do_not_vary_with_their_number():
    growth = interpolation.channel_mean_growth(biased(1).expand(12, -1, -1, -1), [1, 3, 7, 12], subsets=3, seed=0)
    assert math.isnan(interpolation.square_root_fit(growth.counts, growth.averaged)[1])


def test_what_latents_have_in_common_makes_them_fewer():
    """(1 + b^2) N / (1 + b^2 N) with b^2 the mean square of the bias."""
    square = BIAS.square().mean().item()
    found = _noise_bias.independent_inputs(biased(64, shape=(4, 64, 64)))
    assert found == pytest.approx((1 + square) * 64 / (1 + 64 * square), rel=0.05)
    assert _noise_bias.doubling_counts(1) == [1] and _noise_bias.doubling_counts(8) == [1, 2, 4, 8]
