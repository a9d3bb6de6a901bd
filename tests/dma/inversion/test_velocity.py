"""The velocity of the ODE: what the network is told and sees, and what it took."""
import pytest
import torch
from ode_toys import Gaussian, Network, pictures

from mental_averages.dma.diffusion import Parametrization, paper_scale
from mental_averages.dma.inversion import Velocity

EPS, V, FLOW = Parametrization.EPS, Parametrization.V, Parametrization.FLOW


def test_it_is_the_derivative_of_the_exact_map(parametrization):
    model, clean, sigma, step = Gaussian(parametrization), pictures(channels=2), 0.6, 1e-2
    x = model.transported(clean, sigma)
    difference = (model.transported(clean, sigma + step) - model.transported(clean, sigma - step)) / (2 * step)
    torch.testing.assert_close(Velocity(model)(x, sigma), difference, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prediction", [EPS, FLOW])
def test_the_network_is_told_another_level_but_sees_the_latent_as_it_is(prediction):
    network, x = Network(prediction), pictures()
    found = Velocity(network)(x, 0.3, label=0.8)
    assert network.told == [800]
    expected = network.output(x * paper_scale(prediction, 0.3), 800)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_v_is_turned_into_the_noise_at_the_level_of_the_latent():
    network, x = Network(V), pictures()
    alpha = paper_scale(V, 0.3)
    v = network.output(x * alpha, 800)
    # eps = alpha v + sigma alpha z with z = alpha x
    torch.testing.assert_close(Velocity(network)(x, 0.3, label=0.8), alpha * v + 0.3 * alpha**2 * x, rtol=1e-4,
                               atol=1e-5)


def test_at_level_zero_the_network_is_told_the_smallest_label(parametrization):
    network = Network(parametrization)
    assert torch.isfinite(Velocity(network)(pictures(), 0.0)).all()
    assert network.told == [1.0]


def test_calls_are_counted_per_latent_and_the_dtype_is_kept():
    velocity = Velocity(Network(FLOW))
    assert velocity(pictures(3).double(), 0.5).dtype == torch.float64
    velocity(pictures(2), 0.5)
    assert velocity.calls == 5


def test_an_unconditional_embedding_is_handed_on():
    class Guided(Network):
        def denoise_with(self, x, sigma, embedding):
            self.embedding = embedding
            return self.denoise(x, sigma) + embedding.mean()

    network, x, embedding = Guided(FLOW), pictures(), torch.ones(3, 2, 5)
    found = Velocity(network)(x, 0.5, embedding=embedding)
    torch.testing.assert_close(found, Velocity(network)(x, 0.5) - 2, rtol=1e-5, atol=1e-5)
    assert torch.equal(network.embedding, embedding)
