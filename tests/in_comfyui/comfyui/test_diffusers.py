"""ComfyUI and diffusers agree on shared weights: eps and v on the demo model, flow on a small SD3 transformer."""
import copy

import pytest
import torch
from diffusers_models import diffusers_unet

from mental_averages.dma import alignment, diffusion
from mental_averages.dma.alignment import AlignmentSettings
from mental_averages.dma.diffusion import initial_latent, sample
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.models import DiffusersDenoiser, ddim_sigmas
from mental_averages.dma.solvers import Adam

GUIDANCE = 4.0


@pytest.fixture(scope="module")
def pair(demo, prompts):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                              set_alpha_to_one=True, steps_offset=1)
    positive, negative = (conditioning[0][0].float().clone() for conditioning in prompts)
    return DiffusersDenoiser(diffusers_unet(demo[0]), scheduler, positive, negative, guidance_scale=GUIDANCE), scheduler


def in_comfyui(demo, prompts, sigmas, function):
    from mental_averages.nodes.comfyui import with_denoiser

    return with_denoiser(demo[0], *prompts, GUIDANCE, sigmas, (4, 8, 8), 0, function)


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def test_noise_levels_of_the_paper(demo, pair):
    from mental_averages.nodes.comfyui import sigmas_of

    torch.testing.assert_close(sigmas_of(demo[0], "ddim_uniform", 20), ddim_sigmas(pair[1], 20), rtol=1e-4, atol=0)


@pytest.mark.parametrize("index", [0, 10, 18])
def test_prediction_and_features(demo, prompts, pair, index):
    levels = ddim_sigmas(pair[1], 20)
    sigma, found = levels[index].item(), {}
    x = initial_latent(pair[0].parametrization, diffusion.starting_noise(2, (4, 8, 8), 0), sigma)

    def function(denoiser):
        found.update(denoised=denoiser.denoise(x, sigma), features=denoiser.features(x, sigma))
        return x[:1]

    in_comfyui(demo, prompts, levels, function)
    assert relative(found["denoised"], pair[0].denoise(x, sigma)) < 1e-4
    with torch.no_grad():
        assert relative(found["features"], pair[0].features(x, sigma)) < 1e-4


def test_ddim_trajectory_against_the_scheduler_of_diffusers(demo, prompts, pair):
    denoiser, scheduler = pair
    levels = ddim_sigmas(scheduler, 20)
    noise = diffusion.starting_noise(2, (4, 8, 8), 3)
    z = noise.clone()  # diffusers carries latents in the papers' units
    for timestep in scheduler.timesteps:
        with torch.no_grad():
            positive, negative = (denoiser.network(z, timestep, encoder_hidden_states=prompt.expand(2, -1, -1)).sample
                                  for prompt in (denoiser.prompt["encoder_hidden_states"],
                                                 denoiser.negative["encoder_hidden_states"]))
        z = scheduler.step(negative + GUIDANCE * (positive - negative), timestep, z).prev_sample
    start = initial_latent(denoiser.parametrization, noise, levels[0].item())
    found = []

    def sampled(ours):
        found.append(sample(ours, start, levels, batch=BatchSize(2)))
        return start[:1]

    in_comfyui(demo, prompts, levels, sampled)
    assert relative(found[0], z) < 1e-4


def starting_as_core(theirs, scale):
    """The Denoiser of a pipeline, with the start of core's samplers. Diffusers' own is that of the papers, which core
    has at its highest noise level alone, and the schedules of these tests begin below it."""
    theirs = copy.copy(theirs)
    theirs.start_scale = lambda sigma: scale
    return theirs


def test_aligned_trajectory(demo, prompts, pair):
    """Ten plain gradient iterations of Adam at two steps, then sampling: the same latents from both libraries."""
    levels = ddim_sigmas(pair[1], 20)
    settings = AlignmentSettings(count=3, aligned_steps=2, keep=2, seed=5, solver=Adam(iterations=10))
    found = []

    def function(denoiser):
        found.append(alignment.align(denoiser, levels, (4, 8, 8), settings))
        return denoiser.start_scale(levels[0].item())

    scale = in_comfyui(demo, prompts, levels, function)
    expected = alignment.align(starting_as_core(pair[0], scale), levels, (4, 8, 8), settings)
    assert relative(found[0].latents, expected.latents) < 1e-2
    for ours, theirs in zip(found[0].report.steps, expected.report.steps):
        assert ours.mean_error == pytest.approx(theirs.mean_error, rel=1e-4)
        assert ours.residual_after == pytest.approx(theirs.residual_after, rel=1e-2)


def agree(by_comfyui, by_diffusers, sigmas, shape, settings):
    """Prediction, features and a whole aligned trajectory. `by_comfyui(function)` calls it on ComfyUI's Denoiser."""
    sigma, found = sigmas[1].item(), {}
    x = initial_latent(by_diffusers.parametrization, diffusion.starting_noise(2, shape, 0), sigma)

    def function(denoiser):
        assert denoiser.parametrization is by_diffusers.parametrization
        found.update(denoised=denoiser.denoise(x, sigma), features=denoiser.features(x, sigma),
                     average=alignment.align(denoiser, sigmas, shape, settings))
        return denoiser.start_scale(sigmas[0].item())

    scale = by_comfyui(function)
    expected = alignment.align(starting_as_core(by_diffusers, scale), sigmas, shape, settings)
    with torch.no_grad():
        features = by_diffusers.features(x, sigma)
    assert found["features"].shape == features.shape
    assert relative(found["denoised"], by_diffusers.denoise(x, sigma)) < 1e-4
    assert relative(found["features"], features) < 1e-4
    assert relative(found["average"].latents, expected.latents) < 1e-4
    for ours, theirs in zip(found["average"].report.steps, expected.report.steps):
        assert ours.residual_after == pytest.approx(theirs.residual_after, rel=1e-3)


# Adam divides by the gradient's own size, so a long run would show the rounding of the smallest gradients.
SETTINGS = AlignmentSettings(count=2, aligned_steps=1, keep=1, seed=5, solver=Adam(iterations=3, epsilon=1e-3))


def test_eps_prediction(demo, prompts, pair):
    sigmas = ddim_sigmas(pair[1], 4)
    agree(lambda function: in_comfyui(demo, prompts, sigmas, function), pair[0], sigmas, (4, 8, 8), SETTINGS)


def test_v_prediction(demo, prompts, pair):
    """The demo model's weights taken as predictions of v on both sides: no pictures, but the same numbers."""
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
    from diffusers import DDIMScheduler

    from mental_averages.nodes.comfyui import with_denoiser

    (model,) = ModelSamplingDiscrete().patch(demo[0], "v_prediction", False)
    scheduler = DDIMScheduler.from_config(pair[1].config, prediction_type="v_prediction")
    theirs = DiffusersDenoiser(pair[0].network, scheduler, pair[0].prompt, pair[0].negative, guidance_scale=GUIDANCE)
    sigmas = ddim_sigmas(scheduler, 4)
    agree(lambda function: with_denoiser(model, *prompts, GUIDANCE, sigmas, (4, 8, 8), 0, function), theirs, sigmas,
          (4, 8, 8), SETTINGS)


def test_zero_terminal_signal(demo, prompts, pair):
    """A schedule whose last level is pure noise: finite, and the levels that ComfyUI takes."""
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
    from diffusers import DDIMScheduler

    from mental_averages.nodes.comfyui import with_denoiser

    (model,) = ModelSamplingDiscrete().patch(demo[0], "v_prediction", True)
    scheduler = DDIMScheduler.from_config(pair[1].config, prediction_type="v_prediction", rescale_betas_zero_snr=True,
                                          timestep_spacing="trailing")
    theirs = DiffusersDenoiser(pair[0].network, scheduler, pair[0].prompt, pair[0].negative, guidance_scale=GUIDANCE)
    sigmas = ddim_sigmas(scheduler, 4)
    torch.testing.assert_close(sigmas[0], model.get_model_object("model_sampling").sigma_max.cpu(), rtol=1e-4, atol=0)
    agree(lambda function: with_denoiser(model, *prompts, GUIDANCE, sigmas, (4, 8, 8), 0, function), theirs, sigmas,
          (4, 8, 8), SETTINGS)


def test_flow(comfyui):
    """A small SD3Transformer2DModel, converted by ComfyUI's own maps, in both."""
    import comfy.model_base
    import comfy.model_detection
    import comfy.model_patcher
    import comfy.supported_models
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel

    from mental_averages.nodes.comfyui import sigmas_of, with_denoiser

    torch.manual_seed(0)
    theirs = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=16, out_channels=16, num_layers=2, num_attention_heads=2,
        attention_head_dim=64, caption_projection_dim=128, joint_attention_dim=4096, pooled_projection_dim=12,
        pos_embed_max_size=8, qk_norm="rms_norm").eval()
    weights = comfy.model_detection.convert_diffusers_mmdit({key: value.clone()
                                                             for key, value in theirs.state_dict().items()})
    # SD3's wrapper around `pos_embed` is a buffer on both sides.
    weights["pos_embed"] = theirs.pos_embed.pos_embed.clone()
    config = comfy.supported_models.SD3({**comfy.model_detection.detect_unet_config(weights, ""),
                                         "dtype": torch.float32})
    with torch.inference_mode():
        model = comfy.model_base.SD3(config)
        missing, unexpected = model.diffusion_model.load_state_dict(weights, strict=False)
    assert not missing and not unexpected
    cpu = torch.device("cpu")
    model = comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)
    generator = torch.Generator().manual_seed(1)
    texts, pooled = torch.randn((2, 1, 5, 4096), generator=generator), torch.randn((2, 1, 12), generator=generator)
    conditionings = [[[text, {"pooled_output": whole}]] for text, whole in zip(texts, pooled)]
    sides = [{"encoder_hidden_states": text, "pooled_projections": whole} for text, whole in zip(texts, pooled)]
    scheduler, shape = FlowMatchEulerDiscreteScheduler(shift=3.0), (16, 8, 6)
    assert torch.allclose(ddim_sigmas(scheduler, 4)[0], sigmas_of(model, "simple", 4)[0])
    sigmas = sigmas_of(model, "simple", 4)
    agree(lambda function: with_denoiser(model, *conditionings, 3.0, sigmas, shape, 0, function),
          DiffusersDenoiser(theirs, scheduler, *sides, guidance_scale=3.0), sigmas, shape, SETTINGS)


def test_other_networks_and_schedulers_are_refused(pair):
    from diffusers import FlowMatchEulerDiscreteScheduler

    from mental_averages.dma.models import from_pipeline

    with pytest.raises(ValueError, match="flow-matching schedulers for transformers"):
        DiffusersDenoiser(pair[0].network, FlowMatchEulerDiscreteScheduler(), pair[0].prompt, pair[0].negative)
    with pytest.raises(ValueError, match="no branch 'guided'"):
        DiffusersDenoiser(pair[0].network, pair[1], pair[0].prompt, pair[0].negative, branch="guided")
    with pytest.raises(ValueError, match="object is not supported: use a pipeline of Stable Diffusion"):
        from_pipeline(object(), "a prompt")
