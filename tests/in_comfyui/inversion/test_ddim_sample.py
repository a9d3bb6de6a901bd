"""DDIMSample: the way back, on a tiny model with every prediction, and on the demo model."""
import pytest
import torch
from inversions import METHODS, SHAPE, invert, pictures, relative, sample


@pytest.mark.parametrize("prediction, name",
                         [*(("eps", name) for name in METHODS if name != "rf_inversion"), ("v", "ddim"),
                          ("v", "exact"), ("flow", "exact"), ("flow", "rf_inversion"), ("flow", "midpoint"),
                          ("v", "dpm_encoder"), ("flow", "dpm_encoder")])
def test_trajectory_leads_back_as_the_report_says(models, texts, prediction, name):
    model, latent, cfg = models[prediction], pictures(), 3.0 if name in ("null_text", "negative_prompt") else 1.0
    kept = latent["samples"].clone()
    noise, trajectory, report = invert(model, texts, latent, name, cfg)
    restored = sample(model, texts, noise, cfg, trajectory=trajectory)["samples"]
    assert noise["samples"].shape == kept.shape and torch.equal(latent["samples"], kept)
    assert trajectory.trajectory.latents.shape == (3, 2, *SHAPE) and report.settings["method"] == name
    for row, (mse, expected) in enumerate(zip(report.round_trip.mse, report.round_trip.relative)):
        # The report is in the model's units, which differ from the LATENT's by a constant factor.
        assert relative(restored[row], kept[row]) == pytest.approx(expected, rel=2e-2, abs=2e-5)
        assert mse == pytest.approx((expected * 0.18215 * kept[row].norm().item()) ** 2 / kept[row].numel(), rel=1e-2)
    if name in ("exact", "fixed_point", "rf_inversion", "dpm_encoder"):
        assert max(report.round_trip.relative) < 1e-4


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


def test_exact_round_trip_of_the_demo_model(demo, prompts):
    latent = {"samples": 5 * torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))}
    noise, trajectory, report = invert(demo[0], prompts, latent, "exact", scheduler="ddim_uniform", steps=5,
                                       measure=False)
    restored = sample(demo[0], prompts, noise, trajectory=trajectory)["samples"]
    assert relative(restored, latent["samples"]) < 1e-4 and report.round_trip is None and report.calls == 5


def test_codes_come_back_at_any_guidance_and_lead_another_prompt_elsewhere(tiny_model, texts):
    """CycleDiffusion: the codes hold for whatever model, prompt and guidance they were solved for."""
    latent = pictures(3)
    noise, trajectory, report = invert(tiny_model, texts, latent, "dpm_encoder", cfg=7.5)
    assert max(report.round_trip.relative) < 1e-5 and len(report.steps[0].code) == 3 and not report.warnings
    back = sample(tiny_model, texts, noise, cfg=7.5, trajectory=trajectory)["samples"]
    assert relative(back, latent["samples"]) < 1e-5
    changed = sample(tiny_model, texts[::-1], noise, cfg=7.5, trajectory=trajectory)["samples"]
    assert relative(changed, latent["samples"]) > 1e-2
    torch.testing.assert_close(sample(tiny_model, texts, {"samples": noise["samples"].flip(0)}, cfg=7.5,
                                      trajectory=trajectory)["samples"], back.flip(0), rtol=1e-3, atol=1e-3)


def test_codes_of_a_part_of_the_schedule(tiny_model, texts):
    """Below the highest level a picture keeps more of itself, as with the denoise of a KSampler."""
    from mental_averages.nodes import comfyui

    levels, latent = comfyui.sigmas_of(tiny_model, "simple", 8), pictures()
    changed = []
    for part in (levels, levels[4:]):
        noise, trajectory, _ = invert(tiny_model, texts, latent, "dpm_encoder", sigmas=part, measure=False)
        assert relative(sample(tiny_model, texts, noise, trajectory=trajectory)["samples"], latent["samples"]) < 1e-5
        changed.append(relative(sample(tiny_model, texts[::-1], noise, trajectory=trajectory)["samples"],
                                latent["samples"]))
    assert 0 < changed[1] < changed[0]


def test_codes_are_not_sampled_without_their_trajectory(tiny_model, texts):
    noise, trajectory, _ = invert(tiny_model, texts, pictures(), "dpm_encoder", measure=False)
    with pytest.raises(ValueError, match="start of an inversion by dpm_encoder.*together with its trajectory"):
        sample(tiny_model, texts, noise)
    _, other, _ = invert(tiny_model, texts, pictures(), measure=False)
    with pytest.raises(ValueError, match="start of an inversion by dpm_encoder"):
        sample(tiny_model, texts, noise, trajectory=other)
    mean = {**noise, "samples": noise["samples"].mean(0, keepdim=True)}
    with pytest.raises(ValueError, match="none of them: it has been mixed"):
        sample(tiny_model, texts, mean, trajectory=trajectory)
    assert sample(tiny_model, texts, noise, trajectory=trajectory).keys() == {"samples"}


def test_steps_and_scheduler_are_without_effect_beside_a_trajectory(tiny_model, texts):
    noise, trajectory, _ = invert(tiny_model, texts, pictures(), measure=False)
    expected = sample(tiny_model, texts, noise, trajectory=trajectory)["samples"]
    found = sample(tiny_model, texts, noise, trajectory=trajectory, steps=1, scheduler="kl_optimal")["samples"]
    assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="no noise levels for 1 step"):
        sample(tiny_model, texts, noise, steps=1, scheduler="kl_optimal")


def test_way_back_refuses_what_does_not_belong_to_its_trajectory(tiny_model, flow_model, texts):
    noise, trajectory, _ = invert(tiny_model, texts, pictures(), measure=False)
    with pytest.raises(ValueError, match="model of eps prediction, this one has flow"):
        sample(flow_model, texts, noise, trajectory=trajectory)
    with pytest.raises(ValueError, match="not those of the trajectory"):
        sample(tiny_model, texts, noise, trajectory=trajectory, sigmas=torch.tensor([3.0, 0.0]))
    with pytest.raises(ValueError, match="of the same size. Connect the latents that belong"):
        sample(tiny_model, texts, {"samples": torch.zeros(2, 4, 16, 16)}, trajectory=trajectory)
    own = torch.tensor(trajectory.trajectory.levels)
    torch.testing.assert_close(sample(tiny_model, texts, noise, trajectory=trajectory, sigmas=own)["samples"],
                               sample(tiny_model, texts, noise, trajectory=trajectory)["samples"])
