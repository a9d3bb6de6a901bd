"""Parts of a schedule: latents handed on between two samplings as core hands them on."""
import pytest
import torch
from inversions import SHAPE, invert, pictures, relative, sample


def core(model, texts, latents, levels, noise=None):
    import comfy.sample
    import comfy.samplers

    with torch.inference_mode():
        noise = torch.zeros_like(latents) if noise is None else noise
        return comfy.sample.sample_custom(model, noise, 1.0, comfy.samplers.sampler_object("euler"), levels, *texts,
                                          latents.clone(), noise_mask=None, callback=None, disable_pbar=True, seed=0)


@pytest.mark.parametrize("prediction", ["eps", "v", "flow"])
def test_parts_of_a_schedule_are_core_s_in_either_order(models, texts, prediction):
    from mental_averages.nodes import comfyui

    model = models[prediction]
    levels = comfyui.sigmas_of(model, "simple", 8)
    z = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(7))
    whole = core(model, texts, torch.zeros_like(z), levels, z)
    first = sample(model, texts, {"samples": z}, sigmas=levels[:5])["samples"]
    torch.testing.assert_close(first, core(model, texts, torch.zeros_like(z), levels[:5], z), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(core(model, texts, first, levels[4:]), whole, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prediction", ["eps", "v", "flow"])
def test_what_core_left_on_the_way_is_led_back_to_its_noise(models, texts, prediction):
    from mental_averages.nodes import comfyui

    model = models[prediction]
    levels = comfyui.sigmas_of(model, "simple", 8)[:5]
    z = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(7))
    left = core(model, texts, torch.zeros_like(z), levels, z)
    found, trajectory, report = invert(model, texts, {"samples": left}, "fixed_point", sigmas=levels)
    assert relative(found["samples"], z) < 1e-3 and max(report.round_trip.relative) < 1e-4
    assert relative(sample(model, texts, found, trajectory=trajectory)["samples"], left) < 1e-3


def test_levels_of_another_model(flow_model, texts):
    levels = torch.tensor([14.6, 7.0, 1.0, 0.0])
    for name in ("ddim", "dpm_encoder", "rf_inversion"):
        with pytest.raises(ValueError, match="lie between 0 and 1, but these are 14.6.*scheduler of this model"):
            invert(flow_model, texts, pictures(), name, sigmas=levels)
    with pytest.raises(ValueError, match="lie between 0 and 1"):
        sample(flow_model, texts, pictures(), sigmas=levels)
