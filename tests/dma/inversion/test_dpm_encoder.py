"""DPM-Encoder: it comes back, takes the published step, draws the law it claims, and has the codes it should."""
import math

import pytest
import torch
from ode_toys import Gaussian, Network, pictures, relative, schedule

from mental_averages.dma.diffusion import Parametrization, initial_latent, paper_scale
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.inversion import Ddim, DpmEncoder, Velocity, invert, sample_back, way_back

EPS, V, FLOW = Parametrization.EPS, Parametrization.V, Parametrization.FLOW


class Half(Network):
    """A network that computes in half precision, where the least change of its input may change its answer by 1e-3."""

    def output(self, z, timestep):
        return super().output(z.half().float(), timestep).half().float()


@pytest.mark.parametrize("eta", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("steps", [1, 5, 50])
def test_replay_returns_the_picture(parametrization, steps, eta):
    network, clean = Network(parametrization), pictures()
    inverted = invert(network, clean, schedule(parametrization, steps), method=DpmEncoder(eta))
    assert max(inverted.report.round_trip.relative) < 1e-6
    assert max(max(step.residual) for step in inverted.report.steps) < 1e-6
    assert inverted.report.calls == steps and inverted.trajectory.companion.shape == (3, steps + 1, 4, 3, 3)


def test_replay_in_half_precision(parametrization):
    network, clean, levels = Half(parametrization), pictures(), schedule(parametrization, 30)
    trajectory = invert(network, clean, levels, method=DpmEncoder(), measure=False).trajectory
    assert relative(way_back(network, trajectory.noise, trajectory), clean) < 1e-6
    # Its noise, saved in half precision, still finds the codes, and these hold the rest.
    assert relative(way_back(network, trajectory.noise.half(), trajectory), clean) < 1e-6


def test_a_schedule_that_ends_above_zero(parametrization):
    network, clean, levels = Network(parametrization), pictures(), schedule(parametrization, 8)[:-3]
    inverted = invert(network, clean, levels, method=DpmEncoder(0.7))
    assert max(inverted.report.round_trip.relative) < 1e-6


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("eta", [0.4, 1.0])
def test_every_step_equals_the_scheduler_of_diffusers(prediction, eta):
    """With the codes as its variance noise. Its last step, to no noise at all, has no variance."""
    from diffusers import DDIMScheduler

    down = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                         set_alpha_to_one=True, steps_offset=1, prediction_type=prediction)
    down.set_timesteps(20)
    table = ((1 - down.alphas_cumprod) / down.alphas_cumprod).sqrt()
    network = Network(EPS if prediction == "epsilon" else V, table)
    levels = [0.0, *table[down.timesteps.flip(0)].tolist()]
    trajectory = invert(network, pictures(), torch.tensor(levels), method=DpmEncoder(eta), measure=False).trajectory
    codes, method = trajectory.companion[:, :-1], DpmEncoder(eta)
    state = method.resume(trajectory.latents[-1], trajectory.companion)
    z = state[0] * paper_scale(EPS, levels[-1])
    for timestep, index in zip(down.timesteps, range(20, 0, -1)):
        code = codes[:, index - 1]
        step = down.step(network.output(z.float(), timestep), timestep, z.float(), eta=eta, variance_noise=code)
        z, state = step.prev_sample, method.descend(Velocity(network), state, levels, index)
        if index == 1:
            z = z + levels[1] * code
        assert relative(state[0] * paper_scale(EPS, levels[index - 1]), z) < 1e-5
        torch.testing.assert_close(state[1].float(), step.pred_original_sample.float(), rtol=1e-3, atol=1e-3)
    assert relative(z, pictures()) < 1e-5


def test_flow_is_the_eps_process_at_the_same_signal_to_noise_ratios():
    """y = x / (1 - t) at sigma = t / (1 - t) has the same codes, but for the last, whose unit differs."""
    flow = Network(FLOW)

    class Rescaled(Network):
        def denoise(self, y, sigma):
            return flow.denoise(y / (1 + sigma), sigma / (1 + sigma))

    levels = torch.linspace(0.96, 0, 9, dtype=torch.float64)
    own, eps = (invert(network, pictures(), each, method=DpmEncoder(0.6, 4), measure=False, whole=True).trajectory
                for network, each in ((flow, levels), (Rescaled(EPS), levels / (1 - levels))))
    scales = 1 - torch.tensor(own.levels)
    torch.testing.assert_close(own.latents / scales[:, None, None, None, None], eps.latents, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(own.companion[:, 1:-1], eps.companion[:, 1:-1], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_path_is_drawn_as_steps_down_would_draw_it(parametrization, eta):
    """Each level's marginal, and the correlation of neighbours, sqrt(1 - u^2 / b^2), of x given the picture."""
    levels = (0.0, 0.2, 0.5, 0.9)
    clean = torch.full((1, 4, 60, 60), 0.7)
    x = invert(Network(parametrization), clean, torch.tensor(levels), method=DpmEncoder(eta, 3),
               measure=False, whole=True).trajectory.latents[:, 0]
    signal = [1 - level if parametrization is FLOW else 1.0 for level in levels]
    noise = [(x[index] - signal[index] * 0.7) / levels[index] for index in range(1, 4)]
    for index, values in enumerate(noise, start=1):
        assert abs(values.mean().item()) < 0.05 and values.std().item() == pytest.approx(1, abs=0.03)
        if index > 1:
            ratio = signal[index] * levels[index - 1] / (signal[index - 1] * levels[index])
            expected = math.sqrt(1 - eta**2 * (1 - ratio**2))
            assert (values * noise[index - 2]).mean().item() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_codes_of_gaussian_data_have_the_variance_that_follows_from_the_posterior(parametrization, eta):
    model = Gaussian(parametrization)
    count = 4000
    clean = model.mean + model.variance.sqrt() * pictures(count, channels=2)
    levels = (0.0, 0.3, 0.6, 0.9)
    method = DpmEncoder(eta, 5)

    def signal(level):
        return 1 - level if parametrization is FLOW else 1.0

    # The noise is the same for all pictures, so the law shows over pictures and seeds together.
    codes = torch.cat([invert(model, part, torch.tensor(levels), method=DpmEncoder(eta, seed),
                              measure=False).trajectory.companion[:, 1:-1]
                       for seed, part in enumerate(clean.split(10))])
    for place, (s, t) in enumerate(zip(levels[1:], levels[2:])):
        ratio = signal(t) * s / (signal(s) * t)
        fresh = s * method.eta * math.sqrt(1 - ratio**2)
        noise_to_signal = (t / signal(t)) ** 2
        posterior = model.variance * noise_to_signal / (model.variance + noise_to_signal)
        kept = signal(s) - signal(t) / t * math.sqrt(s**2 - fresh**2)
        expected = 1 + kept**2 * posterior.double() / fresh**2  # (C, H, W)
        found = codes[:, place].square().mean(0)
        assert (found / expected).mean().item() == pytest.approx(1, abs=0.05)
        assert abs(codes[:, place].mean().item()) < 0.05
        assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.5


def test_codes_norm_is_in_the_report():
    steps = invert(Network(EPS), pictures(), schedule(EPS, 6), method=DpmEncoder(), measure=False)
    codes = steps.trajectory.companion[:, :-1]
    for index, step in enumerate(steps.report.steps):
        assert step.code == pytest.approx((codes[:, index].flatten(1).norm(dim=1) / 6).tolist(), rel=1e-5)
    assert not invert(Network(EPS), pictures(), schedule(EPS, 3), method=Ddim()).report.steps[0].code


def test_shared_codes_with_another_model_keep_what_the_models_agree_on():
    """Another model's sampling of the codes is nearer to the picture than its sampling of other noise."""
    one, other, levels = Network(EPS), Network(EPS, strength=0.5), schedule(EPS, 30)
    clean = pictures(8)
    found = invert(one, clean, levels, method=DpmEncoder(), measure=False).trajectory
    shared = way_back(other, found.noise, found)
    fresh = found.companion.clone().normal_(generator=torch.Generator().manual_seed(0))
    fresh[:, -1] *= levels[0].item()
    unshared = sample_back(other, found.noise, levels, method=DpmEncoder(), companion=fresh)
    assert 1e-4 < relative(shared, clean) < relative(unshared, clean) / 2


def test_another_seed_is_another_path_that_comes_back_as_well():
    network, levels = Network(FLOW), schedule(FLOW, 5)
    one, two = (invert(network, pictures(), levels, method=DpmEncoder(1.0, seed)) for seed in (0, 1))
    assert relative(one.trajectory.latents[1], two.trajectory.latents[1]) > 0.1
    assert max(*one.report.round_trip.relative, *two.report.round_trip.relative) < 1e-6


def test_pictures_that_share_all_their_noise_are_told_apart_by_their_order():
    """At level 1 of a flow model nothing of the pictures is left."""
    network, levels, clean = Network(FLOW), schedule(FLOW, 4), pictures(3)
    found = invert(network, clean, levels, method=DpmEncoder(), measure=False).trajectory
    assert relative(found.noise[0], found.noise[1]) < 1e-6
    torch.testing.assert_close(way_back(network, found.noise, found, batch=BatchSize(2)), clean, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="the noise of 3 pictures alike.*take back all of them"):
        way_back(network, found.noise[1:2], found)
    one = invert(network, clean[:1].repeat(2, 1, 1, 1), levels, method=DpmEncoder(), measure=False).trajectory
    torch.testing.assert_close(way_back(network, one.noise[:1], one), clean[:1], rtol=1e-5, atol=1e-5)


def test_previews_show_clean_latents():
    """The picture on the way up, the prediction on the way down, and not what lies behind the noise of a step."""
    network, clean, levels, heard = Gaussian(EPS), pictures(2, channels=2), schedule(EPS, 5), []
    invert(network, clean, levels, method=DpmEncoder(), batch=BatchSize(1),
           watchers=[lambda event, state: heard.append(event)])
    for number, event in enumerate(heard):
        if event.kind == "ascend":
            assert torch.equal(event.clean, clean[number % 2 : number % 2 + 1])
        else:
            assert event.clean.dtype == torch.float32 and event.clean.abs().max() < 6


def test_bad_settings_and_codes_that_are_missing():
    for eta in (0.0, -0.5, 1.1, math.nan):
        with pytest.raises(ValueError, match="eta of DPM-Encoder"):
            invert(Network(EPS), pictures(), schedule(EPS, 3), method=DpmEncoder(eta))
    with pytest.raises(ValueError, match="without its codes"):
        sample_back(Network(EPS), pictures(), schedule(EPS, 3), method=DpmEncoder())
    found = invert(Network(EPS), pictures(), schedule(EPS, 3), method=DpmEncoder(), measure=False).trajectory
    with pytest.raises(ValueError, match="none of them: it has been mixed"):
        way_back(Network(EPS), found.noise.mean(0, keepdim=True), found)
    assert found.latents[-1].shape == initial_latent(EPS, found.noise, found.levels[-1]).shape
