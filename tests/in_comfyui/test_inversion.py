"""DDIMInvert, DDIMSample and the sampler in ComfyUI: on a tiny model with every prediction, and on the demo model."""
import math

import pytest
import torch

METHODS = {
    "ddim": dict(told="target"), "fixed_point": dict(tolerance=1e-6, iterations=30, history=3),
    "exact": dict(gamma=0.95), "negative_prompt": {}, "null_text": dict(iterations=4, learning_rate=0.01),
    "midpoint": {}, "fireflow": {}, "rf_inversion": dict(gamma=0.0, eta=1.0, controlled=1.0),
}
SHAPE = (4, 8, 8)


def method(name, **change):
    return {"method": name, **METHODS[name], **change}


def read_as(model, *law):
    """The tiny network with another law of noise and prediction, given by two of core's classes."""
    model = model.clone()
    model.add_object_patch("model_sampling", type("Law", law, {})(model.model.model_config))
    return model


@pytest.fixture
def flow_model(tiny_model):
    """The tiny network read as a flow model, whose noise levels end at exactly 1."""
    from comfy.model_sampling import CONST, ModelSamplingDiscreteFlow

    return read_as(tiny_model, ModelSamplingDiscreteFlow, CONST)


@pytest.fixture
def v_model(tiny_model):
    from comfy.model_sampling import V_PREDICTION, ModelSamplingDiscrete

    return read_as(tiny_model, ModelSamplingDiscrete, V_PREDICTION)


@pytest.fixture
def models(tiny_model, v_model, flow_model):
    return {"eps": tiny_model, "v": v_model, "flow": flow_model}


@pytest.fixture
def texts():
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        return [[[torch.randn(1, 7, 16, generator=generator), {}]] for _ in range(2)]


def pictures(count=2):
    return {"samples": 3 * torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(4))}


def invert(model, texts, latent, name="ddim", cfg=1.0, steps=6, scheduler="simple", **change):
    from mental_averages.nodes.inversion import DDIMInvert

    with torch.inference_mode():
        arguments = dict(seed=0, negative=texts[1], **change)
        chosen = arguments.pop("method", method(name))
        return DDIMInvert.execute(model, texts[0], latent, steps, scheduler, cfg, chosen, **arguments).args


def sample(model, texts, latent, cfg=1.0, steps=6, scheduler="simple", **options):
    from mental_averages.nodes.inversion import DDIMSample

    with torch.inference_mode():
        return DDIMSample.execute(model, *texts, latent, steps, scheduler, cfg, **options).args[0]


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("prediction, name",
                         [*(("eps", name) for name in METHODS if name != "rf_inversion"), ("v", "ddim"),
                          ("v", "exact"), ("flow", "exact"), ("flow", "rf_inversion"), ("flow", "midpoint")])
def test_trajectory_leads_back_as_the_report_says(models, texts, prediction, name):
    model, latent, cfg = models[prediction], pictures(), 3.0 if name in ("null_text", "negative_prompt") else 1.0
    kept = latent["samples"].clone()
    noise, trajectory, report = invert(model, texts, latent, name, cfg)
    restored = sample(model, texts, noise, cfg, trajectory=trajectory)["samples"]
    assert noise["samples"].shape == kept.shape and torch.equal(latent["samples"], kept)
    assert trajectory.trajectory.latents.shape == (7, 2, *SHAPE) and report.settings["method"] == name
    for row, (mse, expected) in enumerate(zip(report.round_trip.mse, report.round_trip.relative)):
        # The report is in the model's units, which differ from the LATENT's by a constant factor.
        assert relative(restored[row], kept[row]) == pytest.approx(expected, rel=2e-2, abs=2e-5)
        assert mse == pytest.approx((expected * 0.18215 * kept[row].norm().item()) ** 2 / kept[row].numel(), rel=1e-2)
    if name in ("exact", "fixed_point", "rf_inversion"):
        assert max(report.round_trip.relative) < 1e-4


def test_batch_equals_single(tiny_model, texts):
    latent = pictures(3)
    together, _, report = invert(tiny_model, texts, latent)
    for row in range(3):
        alone, _, single = invert(tiny_model, texts, {"samples": latent["samples"][row : row + 1]})
        torch.testing.assert_close(alone["samples"][0], together["samples"][row], rtol=1e-4, atol=1e-4)
        assert single.round_trip.psnr[0] == pytest.approx(report.round_trip.psnr[row], rel=1e-3)


@pytest.mark.parametrize("prediction", ["eps", "v", "flow"])
def test_noise_is_that_of_a_ksampler(models, texts, prediction):
    """What DDIMSample makes of z is what core's Euler sampler makes of z as its noise and an empty latent."""
    model = models[prediction]
    import comfy.sample

    from mental_averages.nodes import comfyui

    z = {"samples": torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(7))}
    ours = sample(model, texts, z, cfg=2.0)["samples"]
    with torch.inference_mode():
        levels = comfyui.sigmas_of(model, "simple", 6)
        core = comfy.sample.sample(model, z["samples"].clone(), 6, 2.0, "euler", "simple", *texts,
                                   torch.zeros(2, *SHAPE), sigmas=levels)
    torch.testing.assert_close(ours, core, rtol=1e-3, atol=1e-3)


def custom(model, texts, method_name, sigmas, latent, noise=None):
    """Core's SamplerCustomAdvanced with our sampler and BasicGuider."""
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes.inversion import DDIMSamplerSelect

    with torch.inference_mode():
        sampler = DDIMSamplerSelect.execute(method(method_name)).args[0]
        guider = core.BasicGuider.execute(model, texts[0]).args[0]
        noise = core.DisableNoise.execute().args[0] if noise is None else noise
        return core.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).args


@pytest.mark.parametrize("prediction, name", [("eps", "ddim"), ("eps", "fixed_point"), ("v", "ddim"), ("flow", "ddim"),
                                              ("flow", "fireflow")])
def test_sampler_in_both_directions(models, texts, prediction, name):
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes import comfyui

    model = models[prediction]
    levels = comfyui.sigmas_of(model, "simple", 6)
    latent = pictures()
    flipped = core.FlipSigmas.execute(levels.clone()).args[0]
    assert flipped[0] > 0  # core replaces the level 0
    noise, noisy_clean = custom(model, texts, name, flipped, latent)
    expected, trajectory, _ = invert(model, texts, latent, name, sigmas=flipped)
    assert torch.isfinite(noise["samples"]).all()
    torch.testing.assert_close(noise["samples"], expected["samples"], rtol=1e-3, atol=1e-3)
    back, clean = custom(model, texts, name, flipped.flip(0), noise)
    restored = sample(model, texts, expected, trajectory=trajectory)["samples"]
    torch.testing.assert_close(back["samples"], restored, rtol=1e-3, atol=1e-2)
    assert noisy_clean["samples"].shape == latent["samples"].shape
    torch.testing.assert_close(clean["samples"], back["samples"], rtol=1e-4, atol=1e-4)


def test_sampler_takes_noise_as_core_does(tiny_model, texts):
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes import comfyui

    levels, noise = comfyui.sigmas_of(tiny_model, "simple", 4), core.RandomNoise.execute(3).args[0]
    ours = custom(tiny_model, texts, "ddim", levels, {"samples": torch.zeros(1, *SHAPE)}, noise)[0]["samples"]
    with torch.inference_mode():
        guider = core.BasicGuider.execute(tiny_model, texts[0]).args[0]
        euler = core.KSamplerSelect.execute("euler").args[0]
        empty = {"samples": torch.zeros(1, *SHAPE)}
        expected = core.SamplerCustomAdvanced.execute(noise, guider, euler, levels, empty).args[0]["samples"]
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="connect DisableNoise"):
        custom(tiny_model, texts, "ddim", levels.flip(0), pictures(), noise)
    with pytest.raises(ValueError, match="both noise and a latent"):
        custom(tiny_model, texts, "ddim", levels, pictures(), noise)
    with pytest.raises(ValueError, match="inpainting mask"):
        custom(tiny_model, texts, "ddim", levels, {**pictures(), "noise_mask": torch.ones(1, 8, 8)})
    with pytest.raises(ValueError, match="rise or fall steadily"):
        custom(tiny_model, texts, "ddim", torch.tensor([0.0, 2.0, 1.0, 3.0]), pictures())


def test_null_text_gradient_in_double_precision(tiny_model, texts):
    from mental_averages.dma.inversion import pivot_loss
    from mental_averages.nodes import comfyui

    found = {}

    def measure(denoiser):
        generator = torch.Generator().manual_seed(0)
        x, pivot = 5 * torch.randn(2, 2, *SHAPE, generator=generator, dtype=torch.float64)
        embedding = denoiser.unconditional_embedding().double().repeat(2, 1, 1)
        loss = lambda value: pivot_loss(denoiser, x, 5.0, 3.0, pivot, value)[0].sum()  # noqa: E731
        leaf = embedding.clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss(leaf), leaf)
        direction = gradient / gradient.norm()
        step = 1e-2  # predictions are rounded to fp32 on their way out
        difference = (loss(embedding + step * direction) - loss(embedding - step * direction)) / (2 * step)
        found.update(gradient=(gradient * direction).sum().item(), difference=difference.item())
        return torch.zeros(1, *SHAPE)

    comfyui.with_denoiser(tiny_model, *texts, 7.5, torch.tensor([5.0, 3.0]), SHAPE, 0, measure, layer=None)
    assert found["gradient"] == pytest.approx(found["difference"], rel=1e-3)


def test_null_text_holds_on_to_the_pivot_at_high_guidance(tiny_model, texts):
    latent = pictures()
    _, _, free = invert(tiny_model, texts, latent, cfg=7.5, method=method("null_text", iterations=0), measure=False)
    chosen = method("null_text", learning_rate=0.1)
    _, trajectory, found = invert(tiny_model, texts, latent, cfg=7.5, method=chosen, measure=False)
    assert all(held < lost for held, lost in zip(found.steps[-1].residual, free.steps[-1].residual))
    assert found.steps[-1].iterations == [4, 4] and not found.warnings
    assert trajectory.trajectory.companion.shape == (2, 6, 7, 16)
    with pytest.raises(ValueError, match="needs for 2 latents, but there are 1"):
        sample(tiny_model, texts, {"samples": torch.zeros(1, *SHAPE)}, cfg=7.5, trajectory=trajectory)


def test_guidance_with_a_method_not_made_for_it_warns(tiny_model, texts, caplog):
    _, _, report = invert(tiny_model, texts, pictures(), "ddim", cfg=7.5, measure=False)
    assert "made for cfg 1" in report.warnings[0] and "made for cfg 1" in caplog.text
    assert not invert(tiny_model, texts, pictures(), "ddim", measure=False)[2].warnings


def test_negative_prompt_inversion_ignores_the_guidance_of_the_way_back(tiny_model, texts):
    latent = pictures()
    noise, trajectory, report = invert(tiny_model, texts, latent, "negative_prompt", cfg=7.5)
    plain, _, plain_report = invert(tiny_model, texts, latent, "ddim", cfg=1.0)
    torch.testing.assert_close(noise["samples"], plain["samples"])
    high, low = (sample(tiny_model, texts, noise, cfg=cfg, trajectory=trajectory)["samples"] for cfg in (7.5, 1.0))
    torch.testing.assert_close(high, low, rtol=1e-3, atol=1e-3)
    assert report.round_trip.psnr == pytest.approx(plain_report.round_trip.psnr)


def test_fixed_point_says_where_it_did_not_arrive(tiny_model, texts):
    _, _, report = invert(tiny_model, texts, pictures(), method=method("fixed_point", tolerance=0.0, iterations=1))
    assert "12 of 12 fixed-point steps" in report.warnings[0]


def test_demo_model_against_the_inverse_scheduler_of_diffusers(demo, prompts):
    from diffusers import DDIMInverseScheduler
    from test_diffusers import diffusers_unet

    scheduler = DDIMInverseScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                                     clip_sample=False, set_alpha_to_one=True, steps_offset=1)
    scheduler.set_timesteps(8)
    table = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt()
    sigmas = torch.cat([torch.zeros(1), table[scheduler.timesteps]])
    latent = {"samples": 5 * torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))}
    latents = invert(demo[0], prompts, latent, sigmas=sigmas, measure=False)[1].trajectory.latents
    unet, prompt = diffusers_unet(demo[0]), prompts[0][0][0].float().clone()
    z = latents[0].clone()
    for timestep, x in zip(scheduler.timesteps, latents[1:]):
        with torch.no_grad():
            z = scheduler.step(unet(z, timestep, encoder_hidden_states=prompt).sample, timestep, z).prev_sample
        assert relative(x / math.sqrt(1 + table[timestep] ** 2), z) < 1e-4


def test_exact_round_trip_of_the_demo_model(demo, prompts):
    latent = {"samples": 5 * torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))}
    noise, trajectory, report = invert(demo[0], prompts, latent, "exact", scheduler="ddim_uniform", steps=5,
                                       measure=False)
    restored = sample(demo[0], prompts, noise, trajectory=trajectory)["samples"]
    assert relative(restored, latent["samples"]) < 1e-4 and report.round_trip is None and report.calls == 5


def test_interrupt_stops_an_inversion(tiny_model, texts, monkeypatch):
    import comfy.model_management

    from mental_averages.nodes.comfyui import ComfyDenoiser

    calls, original = [], ComfyDenoiser.denoise

    def denoise(self, x, sigma):
        calls.append(sigma)
        if len(calls) == 3:
            comfy.model_management.interrupt_current_processing()
        return original(self, x, sigma)

    monkeypatch.setattr(ComfyDenoiser, "denoise", denoise)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        invert(tiny_model, texts, pictures())
    assert len(calls) == 3


def test_bad_input(tiny_model, flow_model, texts, monkeypatch):
    def refuse(message, latent=None, model=tiny_model, **change):
        with pytest.raises(ValueError, match=message):
            invert(model, change.pop("texts", texts), pictures() if latent is None else latent, **change)

    refuse("empty batch", {"samples": torch.zeros(0, *SHAPE)})
    refuse("inpainting mask", {**pictures(), "noise_mask": torch.ones(1, 8, 8)})
    refuse("video, audio or combined", {"samples": torch.zeros(1, 4, 3, 8, 8)})
    refuse("16 channels", {"samples": torch.ones(1, 16, 8, 8)})
    refuse("NaN", {"samples": torch.full((1, *SHAPE), math.nan)})
    refuse("rise or fall steadily", sigmas=torch.tensor([3.0, 1.0, 1.0, 0.0]))
    refuse("two or more noise levels", sigmas=torch.tensor([]))
    refuse("for flow models", name="rf_inversion")
    refuse("connect the negative input", cfg=3.0, texts=[texts[0], None])
    refuse("null_text finds", name="null_text")
    refuse("positive conditioning is empty", texts=[[], texts[1]])
    monkeypatch.setattr(tiny_model.model.diffusion_model, "in_channels", 9)
    refuse("inpainting or instruction model")


def test_way_back_refuses_what_does_not_belong_to_its_trajectory(tiny_model, flow_model, texts):
    noise, trajectory, _ = invert(tiny_model, texts, pictures(), measure=False)
    with pytest.raises(ValueError, match="model of eps prediction, this one has flow"):
        sample(flow_model, texts, noise, trajectory=trajectory)
    with pytest.raises(ValueError, match="not those of the trajectory"):
        sample(tiny_model, texts, noise, trajectory=trajectory, sigmas=torch.tensor([3.0, 0.0]))
    with pytest.raises(ValueError, match="of the same size"):
        sample(tiny_model, texts, {"samples": torch.zeros(2, 4, 16, 16)}, trajectory=trajectory)
    own = torch.tensor(trajectory.trajectory.sigmas)
    torch.testing.assert_close(sample(tiny_model, texts, noise, trajectory=trajectory, sigmas=own)["samples"],
                               sample(tiny_model, texts, noise, trajectory=trajectory)["samples"])
