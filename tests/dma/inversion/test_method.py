"""What every method must have: its order, the ODE's own map, and latents that do not know of each other."""
import math

import pytest
import torch
from ode_toys import Gaussian, Network, pictures, relative, schedule

from mental_averages.dma.diffusion import Parametrization, noise_of
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.inversion import (
    Bdia,
    Ddim,
    DpmEncoder,
    FireFlow,
    FixedPoint,
    Midpoint,
    RFInversion,
    Velocity,
    invert,
    way_back,
)

FLOW = Parametrization.FLOW
METHODS = [Ddim(), Ddim("source"), FixedPoint(1e-5, 30), Bdia(), Midpoint(), FireFlow()]


@pytest.mark.parametrize("method, order", [(Ddim("source"), 1), (FixedPoint(0, 40), 1), (Bdia(1.0), 2), (Midpoint(), 2),
                                           (FireFlow(), 2)], ids=lambda value: getattr(value, "name", str(value)))
def test_order_of_convergence_on_gaussian_data(method, order):
    model = Gaussian(FLOW)
    clean = model.mean + model.variance.sqrt() * pictures(channels=2)
    start, exact = model.transported(clean, 0.1), model.transported(clean, 0.8)
    levels = (torch.linspace(0.1, 0.8, steps + 1) for steps in (12, 24))
    errors = [relative(invert(model, start, each, method=method, measure=False).trajectory.latents[-1], exact)
              for each in levels]
    assert math.log2(errors[0] / errors[1]) > order - 0.35


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_inverted_noise_is_the_quantile_of_the_data(parametrization, method):
    """The z of Gaussian data at the highest level is standard normal: the ODE keeps quantiles."""
    model = Gaussian(parametrization)
    quantiles = pictures(channels=2)
    clean = model.mean + model.variance.sqrt() * quantiles
    trajectory = invert(model, clean, schedule(parametrization, 60), method=method, measure=False).trajectory
    expected = noise_of(parametrization, model.transported(clean, trajectory.levels[-1]), trajectory.levels[-1])
    assert relative(trajectory.noise, expected) < 0.08


@pytest.mark.parametrize("method", [*METHODS, RFInversion(seed=3), DpmEncoder(0.8, 3)], ids=lambda method: method.name)
def test_a_batch_gives_what_its_latents_give_alone(method):
    network, clean, levels = Network(FLOW), pictures(5), schedule(FLOW, 6)
    together = invert(network, clean, levels, method=method, batch=BatchSize(2))
    restored = way_back(network, together.trajectory.noise, together.trajectory, batch=BatchSize(3))
    for row in range(5):
        alone = invert(network, clean[row : row + 1], levels, method=method)
        torch.testing.assert_close(alone.trajectory.latents[:, 0], together.trajectory.latents[:, row], rtol=1e-4,
                                   atol=1e-4)
        assert alone.report.round_trip.relative[0] == pytest.approx(together.report.round_trip.relative[row], rel=1e-2,
                                                                    abs=1e-6)
        back = way_back(network, alone.trajectory.noise, alone.trajectory)
        torch.testing.assert_close(back[0], restored[row], rtol=1e-4, atol=1e-4)


def test_the_plain_way_back_is_a_deterministic_step_that_carries_nothing(parametrization):
    network, x, levels, method = Network(parametrization), pictures(), [0.0, 0.3, 0.9], Ddim()
    (lower,) = method.descend(Velocity(network), (x,), levels, 2)
    torch.testing.assert_close(lower, x - 0.6 * Velocity(network)(x, 0.9))
    assert method.begin(x) == (x,) and method.resume(x, None) == (x,) and method.companion((x,), x) is None
