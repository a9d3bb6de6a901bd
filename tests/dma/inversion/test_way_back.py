"""Sampling down from noise."""
import pytest
import torch
from ode_toys import Network, pictures, schedule

from mental_averages.dma.diffusion import Parametrization, initial_latent, sample
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.inversion import Bdia, invert, sample_back, way_back

FLOW = Parametrization.FLOW


def test_plain_sampling_back_is_deterministic_sampling(parametrization):
    network, noise, sigmas = Network(parametrization), pictures(), schedule(parametrization, 8)
    expected = sample(network, initial_latent(parametrization, noise, sigmas[0].item()), sigmas)
    found = sample_back(network, noise, sigmas, batch=BatchSize(2))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert found.dtype == torch.float32


def test_a_trajectory_is_followed_by_its_own_levels_method_and_companion():
    network, sigmas = Network(FLOW), schedule(FLOW, 5)
    trajectory = invert(network, pictures(), sigmas, method=Bdia(), measure=False).trajectory
    found = way_back(network, trajectory.noise, trajectory)
    assert torch.equal(found, sample_back(network, trajectory.noise, sigmas, method=Bdia(),
                                          companion=trajectory.companion))
    assert not torch.equal(found, sample_back(network, trajectory.noise, sigmas, method=Bdia()))


def test_every_finished_batch_is_heard_of():
    heard = []
    sample_back(Network(FLOW), pictures(), schedule(FLOW, 2), batch=BatchSize(2),
                watchers=[lambda event, state: heard.append(event)])
    assert [(event.kind, event.amount, event.row, event.rows) for event in heard] == 2 * [
        ("descend", 2, 2, 3), ("descend", 1, 3, 3)]
    assert heard[0].clean.shape == (1, 4, 3, 3)


def test_levels_that_make_no_sense():
    with pytest.raises(ValueError, match="noise levels"):
        sample_back(Network(FLOW), pictures(), torch.tensor([1.0, 0.5, 0.5, 0.0]))
