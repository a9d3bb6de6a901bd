"""What a trajectory says of its noise, and whose noise it refuses."""
import pytest
import torch
from ode_toys import Network, pictures, schedule

from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.inversion import Bdia, Ddim, Trajectory, check_fit, invert, way_back

FLOW = Parametrization.FLOW


def test_way_back_refuses_latents_of_others():
    network, levels = Network(FLOW), schedule(FLOW, 3)
    exact, plain = (invert(network, pictures(), levels, method=method, measure=False).trajectory
                    for method in (Bdia(), Ddim()))
    with pytest.raises(ValueError, match="needs for 3 latents, but there are 2"):
        way_back(network, exact.noise[:2], exact)
    with pytest.raises(ValueError, match="of the same size"):
        way_back(network, torch.zeros(1, 4, 5, 5), plain)
    with pytest.raises(ValueError, match="of the same size"):
        check_fit(plain, torch.zeros(1, 4, 5, 5))
    assert way_back(network, plain.noise[:2], plain).shape == (2, 4, 3, 3)


def test_the_noise_is_the_last_latent_in_units_of_ordinary_noise():
    latents = torch.stack([pictures(), 2 * pictures()])
    eps, flow = (Trajectory(latents, (0.0, 0.8), each, Ddim()) for each in (Parametrization.EPS, FLOW))
    torch.testing.assert_close(flow.noise, latents[-1] / 0.8)
    torch.testing.assert_close(eps.noise, latents[-1] / (1 + 0.8**2) ** 0.5)
