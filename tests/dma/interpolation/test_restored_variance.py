import math

import torch
from hypothesis import given, strategies as st
from noise_latents import mix, noise, norms, random_weights, thorough

from mental_averages.dma.interpolation._restored_variance import restored_variance


@thorough
@given(seed=st.integers(0, 10**6), count=st.integers(1, 6), scale=st.floats(0.3, 3))
def test_ours_stays_between_the_inputs_and_the_shell_and_ends_on_it(seed, count, scale):
    latents, weights = noise(count, seed, scale=scale), random_weights(count, seed)
    norm = norms(mix(latents, weights, "restored_variance", ("none", math.inf))).item()
    inputs = math.sqrt((weights @ norms(latents).square()).item())
    assert min(inputs, 16.0) - 1e-4 <= norm <= max(inputs, 16.0) + 1e-4
    distances = [abs(norms(mix(noise(many, seed, bias=0, scale=scale), None, "restored_variance",
                               ("none", math.inf))).item() - 16)
                 for many in (2, 16, 128)]
    assert distances[2] <= distances[1] + 1e-4 <= distances[0] + 1 and distances[2] < 0.02 * 16 * max(1, scale**2)


def test_ours_is_fix_and_nin_for_inputs_on_the_shell():
    latents = noise(5)
    latents *= (16 / norms(latents))[:, None, None, None].float()
    weights = random_weights(5, 3)
    for method in ("fix", "nin"):
        torch.testing.assert_close(mix(latents, weights, "restored_variance", ("none", math.inf)),
                                   mix(latents, weights, method, ("none", math.inf)), rtol=1e-5, atol=1e-5)


@thorough
@given(st.floats(0.1, 100), st.floats(0, 1), st.floats(0.1, 20))
def test_energy_is_blended_by_the_share_that_is_kept(energy, share, nominal):
    """|e'|^2 = c q + (1 - c) L with c = |m|^2 / q."""
    mean, kept = (torch.tensor([value], dtype=torch.float64) for value in (energy, share * energy))
    torch.testing.assert_close(restored_variance(mean, kept, nominal).square(),
                               share * mean + (1 - share) * nominal**2, rtol=1e-12, atol=1e-12)


def test_nothing_in_nothing_out():
    assert restored_variance(torch.zeros(1), torch.zeros(1), 16.0).item() == 0
    # More kept than there was is rounding.
    assert restored_variance(torch.tensor([4.0]), torch.tensor([4.0001]), 16.0).item() <= 2.001
