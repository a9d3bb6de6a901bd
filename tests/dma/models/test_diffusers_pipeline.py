"""The Denoiser of diffusers networks with small random weights, against what the network itself predicts."""
import pytest
import torch

from mental_averages.dma.diffusion import Parametrization, denoised_from_output, paper_scale
from mental_averages.dma.models import DiffusersDenoiser, ddim_sigmas, from_pipeline

GUIDANCE = 3.0


@pytest.fixture(scope="module")
def network():
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 32), layers_per_block=1, cross_attention_dim=16, attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def texts():
    return torch.randn(2, 1, 5, 16, generator=torch.Generator().manual_seed(1))


def scheduler(**options):
    from diffusers import DDIMScheduler

    return DDIMScheduler(**options)


@pytest.mark.parametrize("kind, parametrization", [("epsilon", Parametrization.EPS),
                                                   ("v_prediction", Parametrization.V)])
def test_prediction_is_the_guided_one_of_the_network(network, texts, kind, parametrization):
    schedule = scheduler(prediction_type=kind)
    denoiser = DiffusersDenoiser(network, schedule, *texts, guidance_scale=GUIDANCE)
    alpha = schedule.alphas_cumprod[500].double()
    sigma = ((1 - alpha) / alpha).sqrt().item()
    x = sigma * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        positive, negative = (network(x * paper_scale(parametrization, sigma), timestep=500,
                                      encoder_hidden_states=text.expand(2, -1, -1)).sample for text in texts)
    output = negative + GUIDANCE * (positive - negative)
    assert denoiser.parametrization is parametrization
    torch.testing.assert_close(denoiser.denoise(x, sigma), denoised_from_output(parametrization, output, x, sigma))


def test_features_are_those_of_the_layer_under_the_prompt_of_the_branch(network, texts):
    x, heard = torch.randn(1, 4, 8, 8), []
    hook = network.down_blocks[0].register_forward_hook(lambda module, inputs, output: heard.append(output[0]))
    try:
        for branch, text in zip(("conditional", "unconditional"), texts):
            denoiser = DiffusersDenoiser(network, scheduler(), *texts, layer="down_blocks.0", branch=branch)
            found = denoiser.features(x, 1.0)
            timestep = int((denoiser.sigmas - 1).abs().argmin())
            with torch.no_grad():
                network(x * 0.5**0.5, timestep=timestep, encoder_hidden_states=text)
            torch.testing.assert_close(found, heard[-1])
    finally:
        hook.remove()
    assert not torch.allclose(heard[0], heard[-1])


def test_features_can_be_differentiated(network, texts):
    x = torch.randn(1, 4, 8, 8, requires_grad=True)
    features = DiffusersDenoiser(network, scheduler(), *texts).features(x, 1.0)
    (gradient,) = torch.autograd.grad(features.sum(), x)
    assert features.shape == (1, 32, 4, 4) and gradient.norm() > 0


def test_noise_levels_are_those_of_the_schedulers_timesteps():
    schedule = scheduler()
    sigmas = ddim_sigmas(schedule, 5)
    cumulative = schedule.alphas_cumprod[schedule.timesteps]
    torch.testing.assert_close(sigmas[:-1], ((1 - cumulative) / cumulative).sqrt())
    assert sigmas[-1] == 0 and (sigmas.diff() < 0).all() and len(sigmas) == 6


def test_a_schedule_without_terminal_signal_stays_finite():
    sigmas = ddim_sigmas(scheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing"), 4)
    assert torch.isfinite(sigmas).all() and sigmas[0] > 4000


def test_what_is_not_supported_is_named(network, texts):
    with pytest.raises(ValueError, match="There is no branch 'guided'"):
        DiffusersDenoiser(network, scheduler(), *texts, branch="guided")
    with pytest.raises(ValueError, match="The scheduler predicts 'sample'"):
        DiffusersDenoiser(network, scheduler(prediction_type="sample"), *texts)
    with pytest.raises(ValueError, match="object is not supported"):
        from_pipeline(object(), "a prompt")
