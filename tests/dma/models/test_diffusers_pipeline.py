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


def of_stable_diffusion(name, **options):
    """A scheduler of diffusers, with the noise of Stable Diffusion."""
    import diffusers

    return getattr(diffusers, name)(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
                                    beta_schedule="scaled_linear", **options)


# Schedulers of diffusers make NumPy arrays of tensors in a way that NumPy asks to change.
from_tensors = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@from_tensors
@pytest.mark.parametrize("name, options", [
    ("DDIMScheduler", dict(steps_offset=1)), ("PNDMScheduler", dict(steps_offset=1, skip_prk_steps=True)),
    ("EulerDiscreteScheduler", {}), ("HeunDiscreteScheduler", {}), ("KDPM2DiscreteScheduler", {}),
    ("KDPM2AncestralDiscreteScheduler", {}), ("DPMSolverMultistepScheduler", {})])
def test_every_scheduler_has_one_noise_level_a_step(name, options):
    """Also those that ask the network twice at a noise level, or between two: of the levels between, none is left."""
    schedule = of_stable_diffusion(name, **options)
    sigmas = ddim_sigmas(schedule, 8)
    assert len(sigmas) == 9 and (sigmas.diff() < 0).all() and sigmas[-1] == 0
    timesteps = [int((((1 - schedule.alphas_cumprod) / schedule.alphas_cumprod).sqrt() - sigma).abs().argmin())
                 for sigma in sigmas[:-1]]
    steps = torch.tensor(timesteps).diff()
    assert steps.min() >= steps.max() - 3, "equal steps, but for rounding"


def test_flow_schedules_have_one_noise_level_a_step():
    from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler

    plain, second = (ddim_sigmas(make(shift=3.0), 8)
                     for make in (FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler))
    assert torch.equal(plain, second) and len(plain) == 9 and (plain.diff() < 0).all() and plain[-1] == 0


@from_tensors
def test_timesteps_that_are_rounded_to_the_same_one_are_one_step():
    sigmas = ddim_sigmas(of_stable_diffusion("EulerDiscreteScheduler", use_karras_sigmas=True), 30)
    assert 20 < len(sigmas) <= 31 and (sigmas.diff() < 0).all()


def test_a_timestep_below_the_first_is_no_level():
    """Dividing 1000 timesteps by 61 steps from the end is rounded to one too many, which would be the last of the
    table."""
    schedule = of_stable_diffusion("DDIMScheduler", timestep_spacing="trailing")
    sigmas = ddim_sigmas(schedule, 61)
    assert len(sigmas) == 62 and len(schedule.timesteps) == 62 and schedule.timesteps[-1] == -1
    assert (sigmas.diff() < 0).all()


def test_schedulers_without_a_schedule_of_steps_are_refused():
    with pytest.raises(ValueError, match="PNDMScheduler asks the network at 11 noise levels in 8 steps"):
        ddim_sigmas(of_stable_diffusion("PNDMScheduler"), 8)
    with pytest.raises(ValueError, match="do not rise or fall steadily"):
        ddim_sigmas(of_stable_diffusion("DDIMInverseScheduler"), 8)


def test_what_is_not_supported_is_named(network, texts):
    with pytest.raises(ValueError, match="There is no branch 'guided'"):
        DiffusersDenoiser(network, scheduler(), *texts, branch="guided")
    with pytest.raises(ValueError, match="The scheduler predicts 'sample'"):
        DiffusersDenoiser(network, scheduler(prediction_type="sample"), *texts)
    with pytest.raises(ValueError, match="object is not supported"):
        from_pipeline(object(), "a prompt")
