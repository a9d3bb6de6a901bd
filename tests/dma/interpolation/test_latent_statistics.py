import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from noise_latents import BIAS, biased

from mental_averages.dma.interpolation import latent_statistics


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 40), st.integers(0, 1000))
def test_numbers_of_a_batch_are_those_of_their_definitions(count, seed):
    latents = biased(count, seed)
    found, values = latent_statistics(latents, subsets=2), latents.double()
    mean = values.mean(0)
    torch.testing.assert_close(torch.tensor(found.norms).double(), values.flatten(1).norm(dim=1) / 32, rtol=1e-6,
                               atol=0)
    per_latent = values.mean(dim=(2, 3))
    torch.testing.assert_close(torch.tensor(found.channel_means).double(), per_latent.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.tensor(found.standard_errors).double(), per_latent.std(0) / math.sqrt(count),
                               rtol=1e-5, atol=1e-7)
    assert found.amplification == pytest.approx((32 / mean.norm()).item(), rel=1e-6)
    assert found.amplification == pytest.approx(found.centroid_amplification[-1], rel=1e-6)
    assert found.independent_inputs == pytest.approx(
        (values.flatten(1).square().sum(1).mean() / mean.square().sum()).item(), rel=1e-6)
    assert found.counts[-1] == count and found.counts[0] == 1


def test_standard_errors_cover_the_bias():
    found = latent_statistics(biased(200), subsets=1)
    for mean, error, bias in zip(found.channel_means, found.standard_errors, BIAS.tolist()):
        assert abs(mean - bias) < 4 * error and 0.5 < error / (1 / math.sqrt(200 * 256)) < 2
    assert found.common_energy == pytest.approx(BIAS.square().mean().item(), abs=4 * math.sqrt(2 / 1024) / 200 + 1e-3)


def test_one_latent_and_bad_input():
    single = latent_statistics(biased(1))
    assert single.counts == [1] and single.standard_errors == [None] * 4 and single.square_root_fit is None
    assert single.independent_inputs == pytest.approx(1) and "+-" not in single.summary()
    with pytest.raises(ValueError, match="Latent 2 is all zero"):
        latent_statistics(torch.cat([biased(1), torch.zeros(1, 4, 16, 16)]))
    with pytest.raises(ValueError, match="batch is empty"):
        latent_statistics(torch.zeros(0, 4, 8, 8))
