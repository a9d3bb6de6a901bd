"""Inversion against the schedulers of diffusers, exact solutions, and properties that every method must have."""
import math

import pytest
import torch

from mental_averages.dma import diffusion, inversion
from mental_averages.dma.diffusion import Parametrization, denoised_from_output, initial_latent, paper_scale
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.inversion import (
    Bdia,
    Ddim,
    FireFlow,
    FixedPoint,
    Midpoint,
    RFInversion,
    Velocity,
    invert,
    way_back,
)
from mental_averages.dma.solvers import anderson_step

EPS, V, FLOW = Parametrization.EPS, Parametrization.V, Parametrization.FLOW
METHODS = [Ddim(), Ddim("source"), FixedPoint(1e-5, 30), Bdia(), Midpoint(), FireFlow()]


class Network:
    """A smooth network of 4 channels that knows its timestep, as a Denoiser of each parametrisation."""

    device = torch.device("cpu")

    def __init__(self, parametrization, sigmas_of_timesteps=None, strength=0.4):
        self.parametrization, self.table, self.strength = parametrization, sigmas_of_timesteps, strength
        self.matrix = torch.randn(4, 4, generator=torch.Generator().manual_seed(5)) / 2
        self.told = []

    def output(self, z, timestep):
        time = float(timestep) / 1000
        mixed = torch.einsum("cd,bdhw->bchw", self.matrix, z.roll(1, dims=3))
        return 0.5 * z + self.strength * (1 + time) * torch.tanh(mixed + time)

    def denoise(self, x, sigma):
        timestep = 1000 * sigma if self.table is None else int((self.table.log() - math.log(sigma)).abs().argmin())
        self.told.append(timestep)
        output = self.output(x * paper_scale(self.parametrization, sigma), timestep)
        return denoised_from_output(self.parametrization, output, x, sigma)


class Gaussian:
    """Data ~ N(mean, diag(variance)): the exact clean prediction, and the exact map of its ODE."""

    device = torch.device("cpu")

    def __init__(self, parametrization):
        self.parametrization = parametrization
        generator = torch.Generator().manual_seed(0)
        self.mean, self.variance = torch.randn(2, 3, 3,
                                               generator=generator), 0.1 + torch.rand(2, 3, 3, generator=generator)

    def marginal(self, sigma):
        """Mean and standard deviation at a noise level."""
        signal = 1 - sigma if self.parametrization is FLOW else 1.0
        return signal * self.mean, (signal**2 * self.variance + sigma**2).sqrt()

    def denoise(self, x, sigma):
        signal = 1 - sigma if self.parametrization is FLOW else 1.0
        centre, deviation = self.marginal(sigma)
        return self.mean + signal * self.variance / deviation**2 * (x - centre)

    def transported(self, clean, sigma):
        """Where the ODE takes a clean latent: the same quantile of the marginal."""
        centre, deviation = self.marginal(sigma)
        return centre + deviation * (clean - self.mean) / self.variance.sqrt()


def pictures(count=3, channels=4, seed=1, size=3):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def schedule(parametrization, steps):
    if parametrization is FLOW:
        return torch.linspace(1, 0, steps + 1)
    ramp = torch.linspace(0, 1, steps)
    return torch.cat([(14.6 ** (1 / 3) + ramp * (0.05 ** (1 / 3) - 14.6 ** (1 / 3))) ** 3, torch.zeros(1)])


@pytest.fixture(params=[EPS, V, FLOW], ids=lambda parametrization: parametrization.value)
def parametrization(request):
    return request.param


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_every_step_equals_the_inverse_scheduler_of_diffusers(prediction):
    from diffusers import DDIMInverseScheduler, DDIMScheduler

    options = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                   set_alpha_to_one=True, steps_offset=1, prediction_type=prediction)
    up, down = DDIMInverseScheduler(**options), DDIMScheduler(**options)
    up.set_timesteps(20)
    down.set_timesteps(20)
    table = ((1 - up.alphas_cumprod) / up.alphas_cumprod).sqrt()
    network = Network(EPS if prediction == "epsilon" else V, table)
    levels = torch.cat([torch.zeros(1), table[up.timesteps]])
    z = pictures()
    trajectory = invert(network, z, levels, measure=False).trajectory
    assert network.told == up.timesteps.tolist()
    for timestep, sigma, x in zip(up.timesteps, trajectory.sigmas[1:], trajectory.latents[1:]):
        z = up.step(network.output(z, timestep), timestep, z).prev_sample
        assert relative(x * paper_scale(EPS, sigma), z) < 1e-4
    for timestep, index in zip(down.timesteps, range(20, 0, -1)):
        x = initial_latent(EPS, z, trajectory.sigmas[index])
        (ours,) = Ddim().descend(Velocity(network), (x,), list(trajectory.sigmas), index)
        z = down.step(network.output(z, timestep), timestep, z).prev_sample
        assert relative(ours * paper_scale(EPS, trajectory.sigmas[index - 1]), z) < 1e-4


def test_every_step_equals_the_flow_scheduler_of_diffusers():
    """Down as it samples; up with its levels reversed, told the source, from a first level above 0."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    network, z = Network(FLOW), pictures()
    up = FlowMatchEulerDiscreteScheduler(shift=3.0)
    up.set_timesteps(20)
    levels = up.sigmas.flip(0)
    levels[0] = 0.002
    down = FlowMatchEulerDiscreteScheduler(shift=3.0)
    down.set_timesteps(20)
    up.sigmas, up.timesteps = levels, 1000 * levels[:-1]
    trajectory = invert(network, z, levels, Ddim("source"), measure=False).trajectory
    for timestep, x in zip(up.timesteps, trajectory.latents[1:]):
        z = up.step(network.output(z, timestep), timestep, z).prev_sample
        assert relative(x, z) < 1e-4
    assert trajectory.sigmas[-1] == 1.0
    x = z
    for index, timestep in enumerate(down.timesteps):
        (x,) = Ddim().descend(Velocity(network), (x,), down.sigmas.flip(0).tolist(), 20 - index)
        z = down.step(network.output(z, timestep), timestep, z).prev_sample
        assert relative(x, z) < 1e-4


def test_flow_told_the_target_starts_at_level_zero():
    network, clean = Network(FLOW), pictures()
    trajectory = invert(network, clean, schedule(FLOW, 4), measure=False).trajectory
    torch.testing.assert_close(trajectory.latents[1], clean + 0.25 * network.output(clean, 250), rtol=1e-5, atol=1e-5)
    assert torch.isfinite(trajectory.noise).all() and torch.equal(trajectory.noise, trajectory.latents[-1])


@pytest.mark.parametrize("method, order", [(Ddim("source"), 1), (FixedPoint(0, 40), 1), (Bdia(1.0), 2), (Midpoint(), 2),
                                           (FireFlow(), 2)], ids=lambda value: getattr(value, "name", str(value)))
def test_order_of_convergence_on_gaussian_data(method, order):
    model = Gaussian(FLOW)
    clean = model.mean + model.variance.sqrt() * pictures(channels=2)
    start, exact = model.transported(clean, 0.1), model.transported(clean, 0.8)
    levels = (torch.linspace(0.1, 0.8, steps + 1) for steps in (12, 24))
    errors = [relative(invert(model, start, each, method, measure=False).trajectory.latents[-1], exact)
              for each in levels]
    assert math.log2(errors[0] / errors[1]) > order - 0.35


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_inverted_noise_is_the_quantile_of_the_data(parametrization, method):
    """The z of Gaussian data at the highest level is standard normal: the ODE keeps quantiles."""
    model = Gaussian(parametrization)
    quantiles = pictures(channels=2)
    clean = model.mean + model.variance.sqrt() * quantiles
    trajectory = invert(model, clean, schedule(parametrization, 60), method, measure=False).trajectory
    expected = diffusion.noise_of(parametrization, model.transported(clean, trajectory.sigmas[-1]),
                                  trajectory.sigmas[-1])
    assert relative(trajectory.noise, expected) < 0.08


def test_trajectory_and_inputs(parametrization):
    network, clean = Network(parametrization), pictures()
    kept, levels = clean.clone(), schedule(parametrization, 5)
    found = invert(network, clean, levels)
    trajectory = found.trajectory
    assert trajectory.latents.shape == (6, 3, 4, 3, 3) and trajectory.latents.dtype == torch.float32
    assert torch.equal(trajectory.latents[0], clean) and torch.equal(clean, kept)
    assert torch.equal(invert(network, clean, levels.flip(0)).trajectory.latents, trajectory.latents)
    restored = initial_latent(parametrization, trajectory.noise, trajectory.sigmas[-1])
    torch.testing.assert_close(restored, trajectory.latents[-1])
    assert found.report.calls == 5 and len(found.report.steps) == 5 and len(found.report.steps[0].residual) == 3


@pytest.mark.parametrize("method", [*METHODS, RFInversion(seed=3)], ids=lambda method: method.name)
def test_a_batch_gives_what_its_latents_give_alone(method):
    network, clean, levels = Network(FLOW), pictures(5), schedule(FLOW, 6)
    together = invert(network, clean, levels, method, BatchSize(2))
    restored = way_back(network, together.trajectory.noise, together.trajectory, BatchSize(3))
    for row in range(5):
        alone = invert(network, clean[row : row + 1], levels, method)
        torch.testing.assert_close(alone.trajectory.latents[:, 0], together.trajectory.latents[:, row], rtol=1e-4,
                                   atol=1e-4)
        assert alone.report.round_trip.relative[0] == pytest.approx(together.report.round_trip.relative[row], rel=1e-2,
                                                                    abs=1e-6)
        back = way_back(network, alone.trajectory.noise, alone.trajectory)
        torch.testing.assert_close(back[0], restored[row], rtol=1e-4, atol=1e-4)


def test_fixed_point_solves_the_implicit_step_and_beats_the_explicit_one(parametrization):
    network, clean, levels = Network(parametrization), pictures(), schedule(parametrization, 8)
    explicit, implicit = (invert(network, clean, levels, method).report for method in (Ddim(), FixedPoint(1e-6, 60)))
    for step in implicit.steps:
        assert max(step.residual) <= 1e-6 and all(1 <= count <= 60 for count in step.iterations)
    assert max(implicit.round_trip.relative) < 1e-4
    assert max(implicit.round_trip.relative) < 0.05 * min(explicit.round_trip.relative)
    assert min(implicit.round_trip.psnr) > max(explicit.round_trip.psnr) + 20
    assert implicit.calls == pytest.approx(sum(2 + sum(step.iterations) / 3 for step in implicit.steps))


def test_fixed_point_that_cannot_converge_keeps_its_best_iterate():
    network, clean = Network(FLOW, strength=40.0), pictures()
    levels = schedule(FLOW, 2)
    steps = invert(network, clean, levels, FixedPoint(1e-6, 5)).report.steps
    start = invert(network, clean, levels, FixedPoint(1e-6, 0)).report.steps
    assert (max(steps[0].residual) > 1e-6
            and all(found <= first for found, first in zip(steps[0].residual, start[0].residual)))


@pytest.mark.parametrize("steps", [5, 50])
def test_exact_method_returns_its_input(parametrization, steps):
    network, clean = Network(parametrization), pictures()
    inverted = invert(network, clean, schedule(parametrization, steps), Bdia())
    assert max(inverted.report.round_trip.relative) < 1e-4
    assert inverted.report.calls == steps and inverted.trajectory.companion.shape == clean.shape


def test_exact_method_without_its_second_state_is_plain_sampling(parametrization):
    network, clean = Network(parametrization), pictures()
    inverted = invert(network, clean, schedule(parametrization, 40), Bdia()).trajectory
    alone, plain = (inversion.sample_back(network, inverted.noise, inverted.sigmas, method)
                    for method in (Bdia(), Ddim()))
    torch.testing.assert_close(alone, plain, rtol=1e-4, atol=1e-4)
    assert relative(alone, clean) > 1e-5


@pytest.mark.parametrize("gamma", [1.0, 0.6])
def test_exact_method_takes_the_published_step(gamma):
    """z_{i-1} = gamma z_{i+1} - gamma DDIM(z_i -> i+1) + DDIM(z_i -> i-1) holds between the latents of the way up."""
    network, clean, levels = Network(EPS), pictures(), [0.0, 0.3, 1.0, 2.5]
    x = invert(network, clean, torch.tensor(levels), Bdia(gamma), measure=False).trajectory.latents
    for index in (1, 2):
        slope = (x[index] - network.denoise(x[index], levels[index])) / levels[index]
        up, down = (x[index] + (level - levels[index]) * slope for level in (levels[index + 1], levels[index - 1]))
        expected = gamma * x[index + 1] - gamma * up + down
        torch.testing.assert_close(x[index - 1], expected, rtol=1e-4, atol=1e-4)


def test_anderson_solves_a_linear_problem_in_as_many_steps_as_it_has_dimensions():
    generator = torch.Generator().manual_seed(0)
    matrix = 2 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    shift = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    iterates, changes = [torch.zeros(2, 3, dtype=torch.float64)], []
    for _ in range(4):
        changes.append(iterates[-1] @ matrix + shift - iterates[-1])
        iterates.append(anderson_step(iterates, changes))
    solution = shift @ torch.linalg.inv(torch.eye(3, dtype=torch.float64) - matrix)
    torch.testing.assert_close(iterates[-1], solution, rtol=1e-8, atol=1e-8)


def test_acceleration_saves_calls_and_finds_the_same():
    network, clean, levels = Network(FLOW, strength=1.2), pictures(), schedule(FLOW, 8)
    plain, accelerated = (invert(network, clean, levels, FixedPoint(1e-6, 60, history), measure=False)
                          for history in (0, 3))
    assert accelerated.report.calls < plain.report.calls
    torch.testing.assert_close(accelerated.trajectory.latents, plain.trajectory.latents, rtol=1e-3, atol=1e-3)


def test_rf_inversion_without_pulls_is_plain_inversion_and_with_full_pull_arrives():
    network, clean, levels = Network(FLOW), pictures(), schedule(FLOW, 6)
    plain = invert(network, clean, levels, Ddim("source")).trajectory
    free = invert(network, clean, levels, RFInversion(gamma=0.0, eta=0.0)).trajectory
    torch.testing.assert_close(free.latents, plain.latents)
    noise = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(9))
    led = invert(network, clean, levels, RFInversion(gamma=1.0, eta=1.0, controlled=1.0, seed=9))
    torch.testing.assert_close(led.trajectory.noise, noise.expand_as(clean), rtol=1e-5, atol=1e-5)
    assert max(led.report.round_trip.relative) < 1e-5


def test_rf_inversion_steps_by_hand():
    network, clean = Network(FLOW), pictures(1)
    levels = torch.tensor([0.0, 0.5, 1.0])
    y1 = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(2))
    trajectory = invert(network, clean, levels, RFInversion(gamma=0.3, eta=0.6, controlled=0.5, seed=2),
                        measure=False).trajectory
    x1 = clean + 0.5 * (0.7 * network.output(clean, 1) + 0.3 * (y1 - clean))
    x2 = x1 + 0.5 * (0.7 * network.output(x1, 500) + 0.3 * (y1 - x1) / 0.5)
    torch.testing.assert_close(trajectory.latents[-1], x2, rtol=1e-4, atol=1e-4)
    x = x2 - 0.5 * (0.4 * network.output(x2, 1000) + 0.6 * (x2 - clean))
    x = x - 0.5 * network.output(x, 500)
    torch.testing.assert_close(way_back(network, trajectory.noise, trajectory), x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("levels",
                         [[1.0], [], [0.0, 0.5, 0.5, 1.0], [0.0, 0.7, 0.3], [-0.1, 0.5], [0.0, math.nan, 1.0]])
def test_levels_that_make_no_sense(levels):
    with pytest.raises(ValueError, match="noise levels"):
        invert(Network(FLOW), pictures(), torch.tensor(levels))


def test_latents_and_settings_that_make_no_sense():
    network, levels = Network(EPS), schedule(EPS, 3)
    for clean in (torch.zeros(0, 4, 3, 3), torch.full((1, 4, 3, 3), math.nan)):
        with pytest.raises(ValueError, match="no latent to invert"):
            invert(network, clean, levels)
    with pytest.raises(ValueError, match="flow models"):
        invert(network, pictures(), levels, RFInversion())
    with pytest.raises(ValueError, match="gamma of RF-Inversion is 1.5"):
        invert(Network(FLOW), pictures(), schedule(FLOW, 3), RFInversion(gamma=1.5))
    with pytest.raises(ValueError, match="target or the source"):
        invert(network, pictures(), levels, Ddim("middle"))
    with pytest.raises(ValueError, match="cannot be negative"):
        invert(network, pictures(), levels, FixedPoint(-1.0))
    with pytest.raises(ValueError, match="gamma of BDIA"):
        invert(network, pictures(), levels, Bdia(0.0))


def test_way_back_refuses_latents_of_others():
    network, levels = Network(FLOW), schedule(FLOW, 3)
    exact, plain = (invert(network, pictures(), levels, method, measure=False).trajectory
                    for method in (Bdia(), Ddim()))
    with pytest.raises(ValueError, match="needs for 3 latents, but there are 2"):
        way_back(network, exact.noise[:2], exact)
    with pytest.raises(ValueError, match="of the same size"):
        way_back(network, torch.zeros(1, 4, 5, 5), plain)
    assert way_back(network, plain.noise[:2], plain).shape == (2, 4, 3, 3)


def test_progress_never_falls_and_ends_at_one():
    events = []
    invert(Network(EPS), pictures(), schedule(EPS, 4), batch=BatchSize(2), progress=events.append)
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0)
    assert events[0].preview.shape == (1, 4, 3, 3)
