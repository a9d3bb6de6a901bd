"""DDIMSamplerSelect in parts: what SplitSigmas divides comes out as if it were whole, alone and mixed with core's own
samplers."""
import pytest
import torch
from inversions import SHAPE, method, pictures, relative, sample

STEPS, AT = 8, 3
PREDICTIONS = ["eps", "v", "flow"]


@pytest.fixture
def models(tiny_model):
    """The tiny network read as a model of every prediction."""
    from comfy.model_sampling import CONST, V_PREDICTION, ModelSamplingDiscrete, ModelSamplingDiscreteFlow
    from inversions import read_as

    return {"eps": tiny_model, "v": read_as(tiny_model, ModelSamplingDiscrete, V_PREDICTION),
            "flow": read_as(tiny_model, ModelSamplingDiscreteFlow, CONST)}


@pytest.fixture
def texts():
    return [[[torch.randn(1, 7, 16, generator=torch.Generator().manual_seed(1)), {}]] for _ in range(2)]


def run(model, texts, sampler, sigmas, latent, seed=None):
    """Core's SamplerCustomAdvanced; sampler: the name of one of core's, or the value of our method input."""
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes.inversion import DDIMSamplerSelect

    with torch.inference_mode():
        chosen = (core.KSamplerSelect if isinstance(sampler, str) else DDIMSamplerSelect).execute(sampler).args[0]
        guider = core.BasicGuider.execute(model, texts[0]).args[0]
        noise = (core.DisableNoise.execute() if seed is None else core.RandomNoise.execute(seed)).args[0]
        return core.SamplerCustomAdvanced.execute(noise, guider, chosen, sigmas, latent).args


def split(sigmas, at=AT):
    import comfy_extras.nodes_custom_sampler as core

    return core.SplitSigmas.execute(sigmas, at).args


def flipped(sigmas):
    import comfy_extras.nodes_custom_sampler as core

    return core.FlipSigmas.execute(sigmas.clone()).args[0]


def levels_of(model):
    from mental_averages.nodes import comfyui

    return comfyui.sigmas_of(model, "simple", STEPS)


def close(found, expected):
    assert relative(found["samples"], expected["samples"]) < 1e-3


OURS = method("ddim", told="source")


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("first, second", [(OURS, OURS), ("euler", OURS), (OURS, "euler"), (method("midpoint"),) * 2])
def test_down_in_two_parts(models, texts, prediction, first, second):
    model, empty = models[prediction], {"samples": torch.zeros(2, *SHAPE)}
    sigmas = levels_of(model)
    high, low = split(sigmas)
    middle = run(model, texts, first, high, empty, seed=3)[0]
    found, denoised = run(model, texts, second, low, middle)
    whole = run(model, texts, first if first == second else "euler", sigmas, empty, seed=3)[0]
    close(found, whole)
    close(denoised, whole)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_down_in_two_parts_from_the_noise_of_an_inversion(models, texts, prediction):
    model = models[prediction]
    z = {"samples": torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(7))}
    sigmas = levels_of(model)
    high, low = split(sigmas)
    whole = run(model, texts, OURS, sigmas, z)[0]
    close(whole, sample(model, texts, z, steps=STEPS))
    for second in (OURS, "euler", "ddim"):
        close(run(model, texts, second, low, run(model, texts, OURS, high, z)[0])[0], whole)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_what_a_part_hands_on_is_what_core_hands_on(models, texts, prediction):
    """The latent between two parts, and its denoised output for the second socket."""
    model, empty = models[prediction], {"samples": torch.zeros(2, *SHAPE)}
    high, _ = split(levels_of(model))
    ours, theirs = (run(model, texts, sampler, high, empty, seed=3) for sampler in (OURS, "euler"))
    close(ours[0], theirs[0])
    close(ours[1], theirs[1])


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("chosen", [OURS, method("ddim"), method("fixed_point"), method("midpoint")])
def test_up_in_two_parts(models, texts, prediction, chosen):
    model, latent = models[prediction], pictures()
    up = flipped(levels_of(model))
    low, high = split(up, STEPS - AT)
    middle = run(model, texts, chosen, low, latent)[0]
    close(run(model, texts, chosen, high, middle)[0], run(model, texts, chosen, up, latent)[0])


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_up_mixed_with_core(models, texts, prediction):
    """Core's Euler takes rising levels too, below the highest one."""
    model, latent = models[prediction], pictures()
    up = flipped(levels_of(model))[1:]  # from a level that core and we tell the network alike
    low, high = split(up, STEPS - AT)
    ours, theirs = (run(model, texts, sampler, low, latent)[0] for sampler in (OURS, "euler"))
    close(ours, theirs)
    close(run(model, texts, OURS, high, theirs)[0], run(model, texts, OURS, up, latent)[0])


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_part_of_the_way_up_and_back(models, texts, prediction):
    """An inversion that stops below the highest level, and the way back from there: editing by half an inversion."""
    model, latent = models[prediction], pictures()
    _, low = split(levels_of(model))
    middle = run(model, texts, method("fixed_point", iterations=100), flipped(low), latent)[0]
    for sampler in (OURS, "euler"):
        close(run(model, texts, sampler, low, middle)[0], latent)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_noise_and_latent_below_the_highest_level(models, texts, prediction):
    """Image to image, as core's samplers do it."""
    model, latent = models[prediction], pictures()
    _, low = split(levels_of(model))
    close(run(model, texts, OURS, low, latent, seed=3)[0], run(model, texts, "euler", low, latent, seed=3)[0])


def test_levels_without_a_step(models, texts):
    """Core itself answers for empty SIGMAS: no sampler is asked."""
    latent = pictures()
    for sampler in (OURS, "euler"):
        assert torch.equal(run(models["eps"], texts, sampler, torch.tensor([]), latent)[0]["samples"],
                           latent["samples"])
    with pytest.raises(ValueError, match="two or more noise levels.*at least one step"):
        run(models["eps"], texts, OURS, torch.tensor([3.0]), latent)


def test_a_last_step_that_runs_out_of_memory_after_its_model_calls(models, texts, monkeypatch):
    """It is taken again in parts, and each latent comes out once as the denoised output."""
    import importlib

    way_back = importlib.import_module("mental_averages.dma.inversion._way_back")
    empty, sigmas = {"samples": torch.zeros(4, *SHAPE)}, split(levels_of(models["eps"]))[0]
    plain, last = run(models["eps"], texts, OURS, sigmas, empty, seed=3)
    check = way_back.check_finite

    def exhausted(latents, *arguments):
        if len(latents) > 2 and arguments[-1] < 1.01 * sigmas[-2]:
            raise torch.OutOfMemoryError("out of memory")
        return check(latents, *arguments)

    monkeypatch.setattr(way_back, "check_finite", exhausted)
    found, denoised = run(models["eps"], texts, OURS, sigmas, empty, seed=3)
    close(found, plain)
    assert denoised["samples"].shape == last["samples"].shape
    close(denoised, last)
