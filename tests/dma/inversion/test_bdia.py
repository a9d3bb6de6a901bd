"""Algebraically exact inversion: it comes back, by the published step."""
import dataclasses

import pytest
import torch
from ode_toys import Network, pictures, relative, schedule

from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.inversion import Bdia, Ddim, invert, sample_back, way_back

EPS = Parametrization.EPS


@pytest.mark.parametrize("steps", [5, 50])
def test_exact_method_returns_its_input(parametrization, steps):
    network, clean = Network(parametrization), pictures()
    inverted = invert(network, clean, schedule(parametrization, steps), method=Bdia())
    assert max(inverted.report.round_trip.relative) < 1e-4
    assert inverted.report.calls == steps and inverted.trajectory.companion.shape == (3, 2, 4, 3, 3)


class Rounding(Network):
    """A Network of bfloat16: what lies between two of its numbers is rounded either way."""

    def output(self, z, timestep):
        return super().output(z.bfloat16().float(), timestep).bfloat16().float()


@pytest.mark.parametrize("gamma", [1.0, 0.95])
def test_exact_method_returns_its_input_in_half_precision(parametrization, gamma):
    """The upper latent of the pair came back through fp32, which the network made a thousand times as much of."""
    inverted = invert(Rounding(parametrization), pictures(size=8), schedule(parametrization, 20), method=Bdia(gamma))
    assert max(inverted.report.round_trip.relative) < 1e-6


def test_a_trajectory_of_one_latent_a_picture_is_refused():
    network, levels = Network(EPS), schedule(EPS, 3)
    found = invert(network, pictures(), levels, method=Bdia(), measure=False).trajectory
    step = found.companion[:, 1] - found.companion[:, 0]
    with pytest.raises(ValueError, match="carries one latent for each picture.*invert the pictures again"):
        way_back(network, found.noise, dataclasses.replace(found, companion=step))


def test_exact_method_without_its_second_state_is_plain_sampling(parametrization):
    network, clean, levels = Network(parametrization), pictures(), schedule(parametrization, 40)
    inverted = invert(network, clean, levels, method=Bdia()).trajectory
    alone, plain = (sample_back(network, inverted.noise, levels, method=method)
                    for method in (Bdia(), Ddim()))
    torch.testing.assert_close(alone, plain, rtol=1e-4, atol=1e-4)
    assert relative(alone, clean) > 1e-5


@pytest.mark.parametrize("gamma", [1.0, 0.6])
def test_exact_method_takes_the_published_step(gamma):
    """z_{i-1} = gamma z_{i+1} - gamma DDIM(z_i -> i+1) + DDIM(z_i -> i-1) holds between the latents of the way up."""
    network, clean, levels = Network(EPS), pictures(), [0.0, 0.3, 1.0, 2.5]
    x = invert(network, clean, torch.tensor(levels), method=Bdia(gamma), measure=False, whole=True).trajectory.latents
    for index in (1, 2):
        slope = (x[index] - network.denoise(x[index], levels[index])) / levels[index]
        up, down = (x[index] + (level - levels[index]) * slope for level in (levels[index + 1], levels[index - 1]))
        expected = gamma * x[index + 1] - gamma * up + down
        torch.testing.assert_close(x[index - 1], expected, rtol=1e-4, atol=1e-4)


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="gamma of BDIA"):
        invert(Network(EPS), pictures(), schedule(EPS, 3), method=Bdia(0.0))
