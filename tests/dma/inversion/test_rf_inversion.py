"""RF-Inversion: without pulls, with full ones, and step by step by hand."""
import pytest
import torch
from ode_toys import Network, pictures, schedule

from mental_averages.dma.diffusion import Parametrization, salted_seed, starting_noise
from mental_averages.dma.inversion import Ddim, RFInversion, invert, way_back

EPS, FLOW = Parametrization.EPS, Parametrization.FLOW


def test_rf_inversion_without_pulls_is_plain_inversion_and_with_full_pull_arrives():
    network, clean, levels = Network(FLOW), pictures(), schedule(FLOW, 6)
    plain = invert(network, clean, levels, method=Ddim("source")).trajectory
    free = invert(network, clean, levels, method=RFInversion(gamma=0.0, eta=0.0)).trajectory
    torch.testing.assert_close(free.latents, plain.latents)
    noise = starting_noise(1, (4, 3, 3), salted_seed(9, "RF-Inversion"))
    assert not torch.allclose(noise, starting_noise(1, (4, 3, 3), 9), atol=0.1)  # what a sample of this seed was
    led = invert(network, clean, levels, method=RFInversion(gamma=1.0, eta=1.0, controlled=1.0, seed=9))
    torch.testing.assert_close(led.trajectory.noise, noise.expand_as(clean), rtol=1e-5, atol=1e-5)
    assert max(led.report.round_trip.relative) < 1e-5


def test_rf_inversion_steps_by_hand():
    network, clean = Network(FLOW), pictures(1)
    levels = torch.tensor([0.0, 0.5, 1.0])
    y1 = starting_noise(1, (4, 3, 3), salted_seed(2, "RF-Inversion"))
    method = RFInversion(gamma=0.3, eta=0.6, controlled=0.5, seed=2)
    trajectory = invert(network, clean, levels, method=method, measure=False).trajectory
    x1 = clean + 0.5 * (0.7 * network.output(clean, 1) + 0.3 * (y1 - clean))
    x2 = x1 + 0.5 * (0.7 * network.output(x1, 500) + 0.3 * (y1 - x1) / 0.5)
    torch.testing.assert_close(trajectory.latents[-1], x2, rtol=1e-4, atol=1e-4)
    x = x2 - 0.5 * (0.4 * network.output(x2, 1000) + 0.6 * (x2 - clean))
    x = x - 0.5 * network.output(x, 500)
    torch.testing.assert_close(way_back(network, trajectory.noise, trajectory), x, rtol=1e-3, atol=1e-3)


def test_settings_and_models_that_make_no_sense():
    with pytest.raises(ValueError, match="flow models"):
        invert(Network(EPS), pictures(), schedule(EPS, 3), method=RFInversion())
    with pytest.raises(ValueError, match="gamma of RF-Inversion is 1.5"):
        invert(Network(FLOW), pictures(), schedule(FLOW, 3), method=RFInversion(gamma=1.5))
