"""The demo model in ComfyUI and the same weights in diffusers agree."""
import pytest
import torch

from mental_averages.dma import alignment
from mental_averages.dma.alignment import AlignmentSettings
from mental_averages.dma.batching import BatchSize
from mental_averages.dma.diffusers_model import DiffusersDenoiser, ddim_sigmas
from mental_averages.dma.diffusion import initial_latent
from mental_averages.dma.matching import Adam
from mental_averages.dma.sampling import sample

GUIDANCE = 4.0


def diffusers_unet(model):
    """The U-Net of a ComfyUI MODEL as a diffusers module with the same weights."""
    import comfy.utils
    from diffusers import UNet2DConditionModel

    config = model.model.model_config.unet_config
    levels = len(config["channel_mult"])
    down = [bool(config["transformer_depth"][level]) for level in range(levels)]
    up = [bool(config["transformer_depth_output"][2 * level]) for level in range(levels)][::-1]
    unet = UNet2DConditionModel(
        block_out_channels=tuple(320 * factor for factor in config["channel_mult"]), layers_per_block=1,
        down_block_types=tuple("CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in down),
        up_block_types=tuple("CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in up),
        cross_attention_dim=768, attention_head_dim=8)
    ours = model.model.diffusion_model.state_dict()
    names = comfy.utils.unet_to_diffusers(config)
    weights = {theirs: ours[name].float().clone() for theirs, name in names.items() if name in ours}
    missing, unexpected = unet.load_state_dict(weights, strict=False)
    assert not missing and not unexpected
    return unet.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def pair(demo, prompts):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                              set_alpha_to_one=True, steps_offset=1)
    positive, negative = (conditioning[0][0].float().clone() for conditioning in prompts)
    return DiffusersDenoiser(diffusers_unet(demo[0]), scheduler, positive, negative, GUIDANCE), scheduler


def in_comfyui(demo, prompts, sigmas, function):
    from mental_averages.nodes.comfy_model import with_denoiser

    return with_denoiser(demo[0], *prompts, GUIDANCE, sigmas, (4, 8, 8), 0, function)


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def test_noise_levels_of_the_paper(demo, pair):
    from mental_averages.nodes.comfy_model import sigmas_of

    torch.testing.assert_close(sigmas_of(demo[0], "ddim_uniform", 20), ddim_sigmas(pair[1], 20), rtol=1e-4, atol=0)


@pytest.mark.parametrize("index", [0, 10, 18])
def test_prediction_and_features(demo, prompts, pair, index):
    levels = ddim_sigmas(pair[1], 20)
    sigma, found = levels[index].item(), {}
    x = initial_latent(pair[0].parametrization, alignment.starting_noise(2, (4, 8, 8), 0), sigma)

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
    noise = alignment.starting_noise(2, (4, 8, 8), 3)
    z = noise.clone()  # diffusers carries latents in the papers' units
    for timestep in scheduler.timesteps:
        with torch.no_grad():
            positive, negative = (denoiser.unet(z, timestep, encoder_hidden_states=prompt.expand(2, -1, -1)).sample
                                  for prompt in (denoiser.prompt, denoiser.negative))
        z = scheduler.step(negative + GUIDANCE * (positive - negative), timestep, z).prev_sample
    start = initial_latent(denoiser.parametrization, noise, levels[0].item())
    found = []
    in_comfyui(demo, prompts, levels, lambda ours: found.append(sample(ours, start, levels, BatchSize(2))) or start[:1])
    assert relative(found[0], z) < 1e-4


def test_aligned_trajectory(demo, prompts, pair):
    """Ten plain gradient iterations of Adam at two steps, then sampling: the same latents from both libraries."""
    levels = ddim_sigmas(pair[1], 20)
    settings = AlignmentSettings(count=3, aligned_steps=2, keep=2, seed=5, solver=Adam(iterations=10))
    expected = alignment.align(pair[0], levels, (4, 8, 8), settings)
    found = []

    def function(denoiser):
        found.append(alignment.align(denoiser, levels, (4, 8, 8), settings))
        return found[0].latents

    in_comfyui(demo, prompts, levels, function)
    assert relative(found[0].latents, expected.latents) < 1e-2
    for ours, theirs in zip(found[0].report.steps, expected.report.steps):
        assert ours.mean_error == pytest.approx(theirs.mean_error, rel=1e-4)
        assert ours.residual_after == pytest.approx(theirs.residual_after, rel=1e-2)
