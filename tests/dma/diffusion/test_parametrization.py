"""What networks predict, against latents whose noise is known."""
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


@pytest.mark.parametrize("sigma", [0.03, 0.7, 14.6])
def test_paper_scale_is_that_of_the_signal(sigma):
    """z = sqrt(abar) x0 + sqrt(1 - abar) eps with sigma^2 = (1 - abar) / abar."""
    cumulative_alpha = 1 / (1 + sigma**2)
    assert diffusion.paper_scale(EPS, sigma) == diffusion.paper_scale(V, sigma) == pytest.approx(cumulative_alpha**0.5)
    assert diffusion.paper_scale(FLOW, sigma) == 1
