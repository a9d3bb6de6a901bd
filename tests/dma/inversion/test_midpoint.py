"""Midpoint solvers by hand; their order is in test_method.py."""
import torch
from ode_toys import Network, pictures

from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.inversion import FireFlow, Midpoint, Velocity, invert

FLOW = Parametrization.FLOW
LEVELS = [0.2, 0.5, 0.9]


def test_two_steps_up_and_one_down_by_hand():
    network, clean = Network(FLOW), pictures()
    d = lambda x, sigma: network.output(x, 1000 * sigma)  # noqa: E731

    def midpoint(x, sigma, sigma_next):
        middle = x + (sigma_next - sigma) / 2 * d(x, sigma)
        return x + (sigma_next - sigma) * d(middle, (sigma + sigma_next) / 2)

    found = invert(network, clean, torch.tensor(LEVELS), method=Midpoint(), measure=False)
    first, second = found.trajectory.latents[1:]
    torch.testing.assert_close(first, midpoint(clean, 0.2, 0.5), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(second, midpoint(first, 0.5, 0.9), rtol=1e-4, atol=1e-5)
    (back,) = Midpoint().descend(Velocity(network), (second,), LEVELS, 2)
    torch.testing.assert_close(back, midpoint(second, 0.9, 0.5), rtol=1e-4, atol=1e-5)
    assert found.report.calls == 4


def test_fireflow_takes_the_last_midpoint_velocity_for_its_first():
    network, clean = Network(FLOW), pictures()
    d = lambda x, sigma: network.output(x, 1000 * sigma)  # noqa: E731
    found = invert(network, clean, torch.tensor(LEVELS), method=FireFlow(), measure=False)
    slope = d(clean + 0.15 * d(clean, 0.2), 0.35)
    first = clean + 0.3 * slope
    second = first + 0.4 * d(first + 0.2 * slope, 0.7)
    for found_latent, expected in zip(found.trajectory.latents[1:], (first, second)):
        torch.testing.assert_close(found_latent, expected, rtol=1e-4, atol=1e-5)
    assert found.report.calls == 3
