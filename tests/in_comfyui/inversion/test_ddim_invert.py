"""DDIMInvert: on a tiny model with every prediction, and on the demo model."""
import math

import pytest
import torch
from diffusers_models import diffusers_unet
from inversions import SHAPE, invert, method, pictures, relative, sample
from patched_models import lora
from small_models import MODELS
from stopping import Calls


def test_batch_equals_single(tiny_model, texts):
    latent = pictures(3)
    together, _, report = invert(tiny_model, texts, latent)
    for row in range(3):
        alone, _, single = invert(tiny_model, texts, {"samples": latent["samples"][row : row + 1]})
        torch.testing.assert_close(alone["samples"][0], together["samples"][row], rtol=1e-4, atol=1e-4)
        assert single.round_trip.psnr[0] == pytest.approx(report.round_trip.psnr[row], rel=1e-3)


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
    with pytest.raises(ValueError, match="needs for 2 latents, but latent 1 of 1 is none of them.*Connect the latents"):
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
    _, _, report = invert(tiny_model, texts, pictures(), method=method("fixed_point", tolerance=0.0, iterations=20))
    assert "raise iterations" in report.warnings[0] and "a model in fp32" not in report.warnings[0]


def test_a_lora_on_weights_of_half_precision_is_no_rounding_of_a_model_that_computes_in_single(comfyui):
    kind = MODELS["SD1.5"]
    model = lora(kind.build(torch.bfloat16, manual_cast=torch.float32), 0.1)
    _, _, report = invert(model, (kind.conditioning(1), kind.conditioning(2)), pictures(),
                          method=method("fixed_point", tolerance=0.0, iterations=20), measure=False)
    assert "raise iterations" in report.warnings[0] and "a model in fp32" not in report.warnings[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_fixed_point_in_half_precision_stops_and_says_what_would_help(comfyui, dtype):
    kind = MODELS["SD1.5"]
    prompts, model = (kind.conditioning(1), kind.conditioning(2)), kind.build(dtype)
    chosen = method("fixed_point", tolerance=1e-7, iterations=20)
    _, _, report = invert(model, prompts, pictures(), method=chosen, measure=False)
    assert "rounding of the model leaves no less" in report.warnings[0] and report.calls < 6 * 15
    assert not any("raise iterations" in warning for warning in report.warnings)
    _, _, few = invert(model, prompts, pictures(), method={**chosen, "iterations": 1}, measure=False)
    assert "or a model in fp32" in few.warnings[0] and "iterations" not in few.warnings[0]


def test_noise_of_a_low_level_is_longer_than_ordinary_noise_and_said_to_be(tiny_model, texts, caplog):
    from mental_averages.nodes import comfyui

    levels = comfyui.sigmas_of(tiny_model, "ddim_uniform", 30)
    bright = {"samples": 2 * pictures()["samples"]}
    noise, _, report = invert(tiny_model, texts, bright, sigmas=levels[20:], measure=False)
    lengths = noise["samples"].flatten(1).square().mean(1).sqrt()
    top = levels[20].item()
    expected = [math.hypot(1, top) / top * norm for norm in report.steps[-1].norm]
    assert lengths.tolist() == pytest.approx(expected, rel=1e-3)
    assert lengths.max() > 1.1 and top < 1
    assert "far below the model's highest of 14.6" in report.warnings[0] and "choose nin" in caplog.text
    for given in (levels, None):
        assert not invert(tiny_model, texts, bright, steps=30, scheduler="ddim_uniform", sigmas=given,
                          measure=False)[2].warnings


def test_demo_model_against_the_inverse_scheduler_of_diffusers(demo, prompts):
    from diffusers import DDIMInverseScheduler

    from mental_averages.dma import inversion
    from mental_averages.nodes import comfyui

    scheduler = DDIMInverseScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                                     clip_sample=False, set_alpha_to_one=True, steps_offset=1)
    scheduler.set_timesteps(8)
    table = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt()
    sigmas = torch.cat([torch.zeros(1), table[scheduler.timesteps]])
    latent = {"samples": 5 * torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))}
    clean = comfyui.latents_into_model(demo[0], latent["samples"])
    with torch.inference_mode():
        latents = comfyui.with_denoiser(
            demo[0], *prompts, 1.0, sigmas.flip(0), SHAPE, 0, lambda denoiser: inversion.invert(
                denoiser, clean, sigmas, measure=False, whole=True),
            layer=None, latents=1, gradients=False).trajectory.latents
    kept = invert(demo[0], prompts, latent, sigmas=sigmas, measure=False)[1].trajectory.latents
    torch.testing.assert_close(kept, latents[[0, -2, -1]])
    unet, prompt = diffusers_unet(demo[0]), prompts[0][0][0].float().clone()
    z = latents[0].clone()
    for timestep, x in zip(scheduler.timesteps, latents[1:]):
        with torch.no_grad():
            z = scheduler.step(unet(z, timestep, encoder_hidden_states=prompt).sample, timestep, z).prev_sample
        assert relative(x / math.sqrt(1 + table[timestep] ** 2), z) < 1e-4


@pytest.mark.parametrize("name", ["ddim", "dpm_encoder"])
def test_interrupt_stops_an_inversion(tiny_model, texts, name):
    import comfy.model_management

    calls = Calls(tiny_model)
    calls.before_call = lambda count: count == 3 and comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        invert(calls.model, texts, pictures(), name)
    assert calls.count == 3


def test_codes_of_a_batch_are_those_of_its_pictures_and_follow_the_seed(tiny_model, texts):
    latent = pictures(3)

    def codes(rows, **change):
        chosen = {"samples": latent["samples"][rows]}
        return invert(tiny_model, texts, chosen, "dpm_encoder", measure=False, **change)[1].trajectory.companion

    together = codes(slice(0, 3))
    for row in range(3):
        torch.testing.assert_close(codes(slice(row, row + 1))[0], together[row], rtol=1e-3, atol=1e-3)
    assert torch.equal(codes(slice(0, 3)), together)
    other = method("dpm_encoder", eta=0.5)
    assert not torch.allclose(codes(slice(0, 3), method=other)[:, 1], together[:, 1], rtol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_codes_in_half_precision(comfyui, dtype):
    """The way back asks the model at the very latents of the way up, so that half precision costs nothing."""
    kind = MODELS["SD1.5"]
    prompts, model = (kind.conditioning(1), kind.conditioning(2)), kind.build(dtype)
    report = invert(model, prompts, pictures(), "dpm_encoder", cfg=3.0)[2]
    assert max(report.round_trip.relative) < 1e-6
    assert max(invert(model, prompts, pictures(), "fixed_point")[2].round_trip.relative) > 1e-5


def test_bad_input(tiny_model, flow_model, texts, monkeypatch):
    def refuse(message, latent=None, model=tiny_model, **change):
        with pytest.raises(ValueError, match=message):
            invert(model, change.pop("texts", texts), pictures() if latent is None else latent, **change)

    refuse("empty batch", {"samples": torch.zeros(0, *SHAPE)})
    refuse("inpainting mask", {**pictures(), "noise_mask": torch.ones(1, 8, 8)})
    refuse("video, audio or combined", {"samples": torch.zeros(1, 4, 3, 8, 8)})
    refuse("16 channels", {"samples": torch.ones(1, 16, 8, 8)})
    refuse("NaN", {"samples": torch.full((1, *SHAPE), math.nan)})
    refuse("Latent 2 of 2 is empty.*such as an encoded picture",
           {"samples": torch.stack([torch.ones(SHAPE), torch.zeros(SHAPE)])})
    refuse("rise or fall steadily", sigmas=torch.tensor([3.0, 1.0, 2.0, 0.0]))
    refuse("two or more noise levels", sigmas=torch.tensor([]))
    refuse("for flow models", name="rf_inversion")
    refuse("method.eta is 0.0: choose a number from 0.01 to 1", method=method("dpm_encoder", eta=0.0))
    refuse("connect the negative input", cfg=3.0, texts=[texts[0], None])
    refuse("null_text finds", name="null_text")
    refuse("positive conditioning is empty", texts=[[], texts[1]])
    monkeypatch.setattr(tiny_model.model.diffusion_model, "in_channels", 9)
    refuse("inpainting or instruction model")
