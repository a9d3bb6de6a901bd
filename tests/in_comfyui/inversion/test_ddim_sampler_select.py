"""The sampler in ComfyUI's own SamplerCustomAdvanced, in both directions."""
import pytest
import torch
from inversions import SHAPE, invert, method, pictures, sample


def custom(model, texts, method_name, sigmas, latent, noise=None, trajectory=None):
    """Core's SamplerCustomAdvanced with our sampler and BasicGuider."""
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes.inversion import DDIMSamplerSelect

    with torch.inference_mode():
        sampler = DDIMSamplerSelect.execute(method(method_name), trajectory).args[0]
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


@pytest.mark.parametrize("scheduler", ["simple", "ddim_uniform"])  # from the highest level, and from below it
@pytest.mark.parametrize("prediction, name", [("eps", "dpm_encoder"), ("v", "dpm_encoder"), ("flow", "dpm_encoder"),
                                              ("eps", "exact"), ("flow", "rf_inversion")])
def test_sampler_takes_a_trajectory_back(models, texts, prediction, name, scheduler):
    from mental_averages.nodes import comfyui

    model, latent = models[prediction], pictures()
    noise, trajectory, _ = invert(model, texts, latent, name, scheduler=scheduler, measure=False)
    levels = comfyui.sigmas_of(model, scheduler, 6)
    back, clean = custom(model, texts, "ddim", levels, noise, trajectory=trajectory)
    torch.testing.assert_close(back["samples"], latent["samples"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(clean["samples"], back["samples"], rtol=1e-4, atol=1e-4)
    changed = custom(model, texts[::-1], "ddim", levels, noise, trajectory=trajectory)[0]["samples"]
    torch.testing.assert_close(changed, sample(model, texts[::-1], noise, trajectory=trajectory)["samples"], rtol=1e-3,
                               atol=1e-3)


def test_sampler_refuses_what_does_not_belong_to_its_trajectory(tiny_model, flow_model, texts):
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes import comfyui

    noise, trajectory, _ = invert(tiny_model, texts, pictures(), "dpm_encoder", measure=False)
    levels = comfyui.sigmas_of(tiny_model, "simple", 6)

    def refuse(message, model=tiny_model, sigmas=levels, latent=noise, **options):
        with pytest.raises(ValueError, match=message):
            custom(model, texts, "ddim", sigmas, latent, **{"trajectory": trajectory, **options})

    refuse("model of eps prediction, this one has flow", flow_model)
    refuse("not those of the trajectory", sigmas=levels[1:])
    refuse("not those of the trajectory", sigmas=levels.flip(0))
    refuse("from its own noise alone. Connect the latent of the inversion", noise=core.RandomNoise.execute(3).args[0])
    refuse("latent 1 of 2 is none of them.*disconnect the trajectory", latent=pictures())
    refuse("latent 1 of 1 is none of them", latent={"samples": torch.zeros(1, *SHAPE)})
    for name in ("negative_prompt", "null_text"):
        kept, own, _ = invert(tiny_model, texts, pictures(), name, cfg=3.0, measure=False)
        refuse("negative prompts of its own, for which a guider has no place", latent=kept, trajectory=own)


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
    with pytest.raises(ValueError, match="NaN or infinity. Connect a finished latent"):
        custom(tiny_model, texts, "ddim", levels.flip(0), {"samples": torch.full((1, *SHAPE), torch.nan)})
    with pytest.raises(ValueError, match="both noise and a latent"):
        custom(tiny_model, texts, "ddim", levels, pictures(), noise)
    with pytest.raises(ValueError, match="inpainting mask"):
        custom(tiny_model, texts, "ddim", levels, {**pictures(), "noise_mask": torch.ones(1, 8, 8)})
    with pytest.raises(ValueError, match="rise or fall steadily"):
        custom(tiny_model, texts, "ddim", torch.tensor([0.0, 2.0, 1.0, 3.0]), pictures())


def test_levels_that_a_scheduler_repeats_are_taken_once_in_both_directions(tiny_model, texts):
    """Core's scheduler gives a distilled model some of its 50 levels twice for more steps."""
    import comfy_extras.nodes_custom_sampler as core
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    distilled = ModelSamplingDiscrete().patch(tiny_model, "lcm", False)[0]
    repeating = core.BasicScheduler.execute(distilled, "simple", 60, 1.0).args[0]
    once = repeating.unique_consecutive()
    assert len(once) < len(repeating)
    noise = core.RandomNoise.execute(3).args[0]
    for levels, latent, more in ((lambda sigmas: sigmas, {"samples": torch.zeros(1, *SHAPE)}, {"noise": noise}),
                                 (lambda sigmas: core.FlipSigmas.execute(sigmas.clone()).args[0], pictures(), {})):
        found, expected = (custom(distilled, texts, "ddim", levels(sigmas), latent, **more)[0]["samples"]
                           for sigmas in (repeating, once))
        assert torch.isfinite(found).all() and torch.equal(found, expected)
    noise, trajectory, _ = invert(distilled, texts, pictures(), "exact", sigmas=repeating, measure=False)
    back = custom(distilled, texts, "ddim", repeating, noise, trajectory=trajectory)[0]["samples"]
    torch.testing.assert_close(back, pictures()["samples"], rtol=1e-3, atol=1e-3)
