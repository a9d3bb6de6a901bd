"""Explicit inversion against the schedulers of diffusers."""
import pytest
import torch
from ode_toys import Network, pictures, relative, schedule

from mental_averages.dma.diffusion import Parametrization, initial_latent, paper_scale
from mental_averages.dma.inversion import Ddim, Velocity, invert

EPS, V, FLOW = Parametrization.EPS, Parametrization.V, Parametrization.FLOW


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
    trajectory = invert(network, z, levels, measure=False, whole=True).trajectory
    assert network.told == up.timesteps.tolist()
    for timestep, sigma, x in zip(up.timesteps, trajectory.levels[1:], trajectory.latents[1:]):
        z = up.step(network.output(z, timestep), timestep, z).prev_sample
        assert relative(x * paper_scale(EPS, sigma), z) < 1e-4
    for timestep, index in zip(down.timesteps, range(20, 0, -1)):
        x = initial_latent(EPS, z, trajectory.levels[index])
        (ours,) = Ddim().descend(Velocity(network), (x,), list(trajectory.levels), index)
        z = down.step(network.output(z, timestep), timestep, z).prev_sample
        assert relative(ours * paper_scale(EPS, trajectory.levels[index - 1]), z) < 1e-4


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
    trajectory = invert(network, z, levels, method=Ddim("source"), measure=False, whole=True).trajectory
    for timestep, x in zip(up.timesteps, trajectory.latents[1:]):
        z = up.step(network.output(z, timestep), timestep, z).prev_sample
        assert relative(x, z) < 1e-4
    assert trajectory.levels[-1] == 1.0
    x = z
    for index, timestep in enumerate(down.timesteps):
        (x,) = Ddim().descend(Velocity(network), (x,), down.sigmas.flip(0).tolist(), 20 - index)
        z = down.step(network.output(z, timestep), timestep, z).prev_sample
        assert relative(x, z) < 1e-4


def test_flow_told_the_target_starts_at_level_zero():
    network, clean = Network(FLOW), pictures()
    trajectory = invert(network, clean, schedule(FLOW, 4), measure=False, whole=True).trajectory
    torch.testing.assert_close(trajectory.latents[1], clean + 0.25 * network.output(clean, 250), rtol=1e-5, atol=1e-5)
    assert torch.isfinite(trajectory.noise).all() and torch.equal(trajectory.noise, trajectory.latents[-1])


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="target or the source"):
        invert(Network(EPS), pictures(), schedule(EPS, 3), method=Ddim("middle"))
