"""Where sampling starts: the noise of a seed is a KSampler's with every scheduler, also with those that begin below the
model's highest noise level."""
import pytest
import torch
from alignments import execute
from inversions import SHAPE, read_as

STEPS = 4  # few, so that ddim_uniform begins far below


@pytest.fixture(scope="module")
def laws(unet):
    from comfy.model_sampling import CONST, V_PREDICTION, ModelSamplingDiscrete, ModelSamplingDiscreteFlow

    return {"eps": unet, "v": read_as(unet, ModelSamplingDiscrete, V_PREDICTION),
            "flow": read_as(unet, ModelSamplingDiscreteFlow, CONST)}


def schedulers():
    return ["simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal", "linear_quadratic",
            "kl_optimal"]


def core(model, prompts, scheduler, steps, count, seed=11):
    import nodes

    with torch.inference_mode():
        latent = {"samples": torch.zeros(count, *SHAPE)}
        return nodes.common_ksampler(model, seed, steps, 3.0, "euler", scheduler, *prompts, latent)[0]["samples"]


def close(found, expected):
    scale = expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * scale)


def test_these_are_all_schedulers_of_core(comfyui):
    import comfy.samplers

    assert set(schedulers()) == set(comfy.samplers.KSampler.SCHEDULERS)


@pytest.mark.parametrize("law", ["eps", "v", "flow"])
@pytest.mark.parametrize("scheduler", schedulers())
@torch.inference_mode()
def test_a_seed_stands_for_a_ksamplers_noise(laws, small, law, scheduler):
    from mental_averages.nodes.baselines import ZeroLatent
    from mental_averages.nodes.inversion import DDIMSample

    model, prompts, empty = laws[law], small[1], {"samples": torch.zeros(1, *SHAPE)}
    expected = core(model, prompts, scheduler, STEPS, 2)
    plain, _ = execute(model, *prompts, empty, count=2, steps=STEPS, aligned_steps=0, cfg=3.0, scheduler=scheduler,
                       seed=11, keep=2, resume=False)
    close(plain["samples"], expected)
    noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(11))
    close(DDIMSample.execute(model, *prompts, {"samples": noise}, STEPS, scheduler, 3.0).args[0]["samples"], expected)
    zero = ZeroLatent.execute(model, *prompts, empty, STEPS, 3.0, scheduler, 1.0, 11).args[0]["samples"]
    close(zero, expected[:1])


@pytest.mark.parametrize("law", ["eps", "v", "flow"])
@torch.inference_mode()
def test_an_inversion_leads_back_where_it_began_below_the_highest_level(laws, small, law):
    """By its trajectory and without it."""
    from inversions import invert, method, pictures, sample

    prompts, way = small[1], dict(scheduler="ddim_uniform", steps=5)
    noise, trajectory, _ = invert(laws[law], prompts, pictures(), method=method("fixed_point", iterations=60), **way)
    highest = trajectory.trajectory.levels[-1]
    top = laws[law].get_model_object("model_sampling").sigma_max.item()
    assert highest < top
    torch.testing.assert_close(noise["samples"], trajectory.trajectory.latents[-1] / highest)
    back, plain = (sample(laws[law], prompts, noise, trajectory=given, **way)["samples"]
                   for given in (trajectory, None))
    close(plain, back)


@torch.inference_mode()
def test_the_mixtures_samples_and_the_matching_start_there_too(laws, small):
    from mental_averages.nodes.alignment import AlignMixtureModes
    from mental_averages.nodes.hspace import HSpaceHook

    model, prompts, empty = laws["eps"], small[1], {"samples": torch.zeros(1, *SHAPE)}
    hspace = HSpaceHook.execute(model, "auto", "none").args[0]
    samples = AlignMixtureModes.execute(hspace, *prompts, empty, 4, {"components": "fixed", "modes": 1}, 4, 1, 3.0,
                                        "ddim_uniform", 11, "draft", 0.3, minimum_size=1, resume=False).args[2]
    close(samples["samples"], core(model, prompts, "ddim_uniform", 4, 4))
    report = execute(hspace, *prompts, empty, count=4, steps=4, aligned_steps=1, iterations=0, cfg=3.0,
                     scheduler="ddim_uniform", seed=11, keep=4, resume=False, own_noise=1.0, carried=0,
                     solver="Adam")[1]
    sigma = report.steps[0].sigma
    noise = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(11)) * sigma / (1 + sigma**2) ** 0.5
    spread = ((noise - noise.mean(0)).square().sum() / noise.numel()) ** 0.5
    assert report.initial_spread == pytest.approx(spread.item(), rel=1e-5) == report.steps[0].spread
