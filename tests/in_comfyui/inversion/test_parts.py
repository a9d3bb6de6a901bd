"""Parts of a schedule: latents handed on between two samplings as core hands them on."""
import pytest
import torch
from inversions import SHAPE, invert, method, pictures, relative, sample
from small_models import MODELS


def core(model, texts, latents, levels, noise=None):
    import comfy.sample
    import comfy.samplers

    with torch.inference_mode():
        noise = torch.zeros_like(latents) if noise is None else noise
        return comfy.sample.sample_custom(model, noise, 1.0, comfy.samplers.sampler_object("euler"), levels, *texts,
                                          latents.clone(), noise_mask=None, callback=None, disable_pbar=True, seed=0)


@pytest.mark.parametrize("prediction", ["eps", "v", "flow"])
def test_core_goes_on_from_a_first_part(models, texts, prediction):
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


def test_an_empty_latent_is_none_whatever_the_units_of_the_model(comfyui):
    """Of many models zeros are no zeros where the network sees them."""
    import comfy_extras.nodes_custom_sampler as core_nodes

    from mental_averages.nodes.inversion import DDIMSamplerSelect

    kind = MODELS["SD3"]
    model, prompts = kind.build(), (kind.conditioning(1), kind.conditioning(2))
    levels = torch.tensor([0.0, 0.5, 0.8])
    pictures_and_none = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(3)) * torch.tensor(
        [1.0, 0.0]).view(2, 1, 1, 1)
    for samples in (pictures_and_none, pictures_and_none[1:]):
        with pytest.raises(ValueError, match="Latent . of . is empty.*an encoded picture"):
            invert(model, prompts, {"samples": samples}, sigmas=levels)
        with pytest.raises(ValueError, match="Latent . of . is empty"), torch.inference_mode():
            core_nodes.SamplerCustomAdvanced.execute(
                core_nodes.DisableNoise.execute().args[0], core_nodes.BasicGuider.execute(model, prompts[0]).args[0],
                DDIMSamplerSelect.execute(method("ddim")).args[0], levels, {"samples": samples})


def test_rf_inversion_is_pulled_to_what_was_inverted_at_any_level(flow_model, texts):
    levels = torch.tensor([1.0, 0.8, 0.6, 0.4])
    chosen = method("rf_inversion", gamma=0.5, eta=1.0, controlled=1.0)
    latent = pictures()
    noise, trajectory, report = invert(flow_model, texts, latent, sigmas=levels, method=chosen)
    assert max(report.round_trip.relative) < 1e-5
    assert relative(sample(flow_model, texts, noise, trajectory=trajectory)["samples"], latent["samples"]) < 1e-4


def test_levels_of_another_model(flow_model, texts):
    levels = torch.tensor([14.6, 7.0, 1.0, 0.0])
    for name in ("ddim", "dpm_encoder", "rf_inversion"):
        with pytest.raises(ValueError, match="lie between 0 and 1, but these are 14.6.*scheduler of this model"):
            invert(flow_model, texts, pictures(), name, sigmas=levels)
    with pytest.raises(ValueError, match="lie between 0 and 1"):
        sample(flow_model, texts, pictures(), sigmas=levels)
