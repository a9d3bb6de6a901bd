import math

import pytest
import torch

from mental_averages.dma import diffusion
from mental_averages.dma.diffusion import Parametrization

EPS, V, FLOW = Parametrization.EPS, Parametrization.V, Parametrization.FLOW


@pytest.mark.parametrize("sigma", [0.03, 0.7, 14.6])
@pytest.mark.parametrize("parametrization", [EPS, V])
def test_clean_latent_is_recovered_from_the_true_output(parametrization, sigma):
    clean, noise = torch.randn(2, 5, 4, 4, dtype=torch.float64)
    x = diffusion.add_noise(parametrization, clean, noise, sigma)
    alpha = 1 / math.sqrt(1 + sigma**2)
    # v = sqrt(abar) eps - sqrt(1 - abar) x0
    output = noise if parametrization is EPS else alpha * noise - sigma * alpha * clean
    torch.testing.assert_close(diffusion.denoised_from_output(parametrization, output, x, sigma), clean)


def test_clean_latent_is_recovered_from_the_true_velocity_of_a_flow():
    clean, noise = torch.randn(2, 5, 4, 4, dtype=torch.float64)
    x = diffusion.add_noise(FLOW, clean, noise, 0.3)
    torch.testing.assert_close(x, 0.7 * clean + 0.3 * noise)
    torch.testing.assert_close(diffusion.denoised_from_output(FLOW, noise - clean, x, 0.3), clean)


@pytest.mark.parametrize("parametrization", [EPS, V, FLOW])
def test_step_with_the_true_clean_latent_keeps_the_noise(parametrization):
    clean, noise = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    x = diffusion.add_noise(parametrization, clean, noise, 0.9)
    for sigma_next in (0.4, 0.0, 0.95):
        stepped = diffusion.deterministic_step(x, clean, 0.9, sigma_next)
        torch.testing.assert_close(stepped, diffusion.add_noise(parametrization, clean, noise, sigma_next))


def test_step_from_zero_is_refused():
    with pytest.raises(ValueError, match="positive noise level"):
        diffusion.deterministic_step(torch.zeros(1), torch.zeros(1), 0.0, 1.0)


@pytest.mark.parametrize("parametrization", [EPS, V, FLOW])
def test_initial_latent_has_unit_variance_in_paper_units(parametrization):
    sigma = 1.0 if parametrization is FLOW else 14.6
    noise = torch.randn(4, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    z = diffusion.initial_latent(parametrization, noise, sigma) * diffusion.paper_scale(parametrization, sigma)
    torch.testing.assert_close(z, noise)
    assert diffusion.shell_norm(z) == math.sqrt(4 * 32 * 32)
