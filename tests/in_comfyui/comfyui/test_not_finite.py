"""A MODEL that gives NaN on the way: every node that samples says where, and nothing of it is kept."""
import types

import pytest
import torch
from alignments import execute
from inversions import METHODS, SHAPE, method, pictures
from stopping import saved_states

BEGINS = 5.0  # the noise level from which on downwards predictions are NaN
WHERE = r"Step \d+ of 4: The (latents predicted|features) at noise level [\d.e-]+ contain NaN or infinity"
ADVICE = WHERE + r".*another precision"
LEVELS = dict(steps=4, scheduler="simple")


@pytest.fixture(scope="module")
def prompts(small):
    return small[1]


@pytest.fixture
def broken(unet):
    model = unet.clone()

    def spoilt(arguments):
        bad = arguments["sigma"].max() < BEGINS
        return arguments["denoised"] * (torch.nan if bad else 1.0)

    model.set_model_sampler_post_cfg_function(spoilt)
    return model


@pytest.fixture
def hspace(broken, folders):
    from mental_averages.nodes.hspace import HSpaceHook

    return HSpaceHook.execute(broken, "auto", "none").args[0]


@pytest.fixture(autouse=True)
def in_inference_mode():
    with torch.inference_mode():
        yield


EMPTY = {"samples": torch.zeros(1, *SHAPE)}


@pytest.mark.parametrize("aligned_steps", [0, 1])
def test_alignment(hspace, prompts, folders, aligned_steps):
    with pytest.raises(ValueError, match=ADVICE):
        execute(hspace, *prompts, EMPTY, count=3, aligned_steps=aligned_steps, iterations=2, cfg=2.0, seed=1, keep=2,
                resume=True, **LEVELS)
    assert not any(state["finished"] for state in saved_states(folders).values())


def test_a_mixture(hspace, prompts, folders):
    from mental_averages.nodes.alignment import AlignMixtureModes

    with pytest.raises(ValueError, match=ADVICE):
        AlignMixtureModes.execute(hspace, *prompts, EMPTY, 4, {"components": "fixed", "modes": 1}, 4, 1, 2.0, "simple",
                                  1, "draft", 0.3, minimum_size=1, resume=True)
    assert all(state["step"] < 4 for state in saved_states(folders).values())


def test_a_plain_sample(broken, prompts):
    from mental_averages.nodes.baselines import ZeroLatent

    with pytest.raises(ValueError, match=ADVICE):
        ZeroLatent.execute(broken, *prompts, EMPTY, cfg=2.0, noise_scale=1.0, seed=1, **LEVELS)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "rf_inversion"])
def test_an_inversion(broken, prompts, name):
    from mental_averages.nodes.inversion import DDIMInvert

    with pytest.raises(ValueError, match=ADVICE):
        DDIMInvert.execute(broken, prompts[0], pictures(), cfg=3.0 if name == "null_text" else 1.0, method=method(name),
                           negative=prompts[1], measure=False, **LEVELS)


@pytest.mark.parametrize("name", ["ddim", "fixed_point", "exact", "midpoint", "fireflow", "null_text",
                                  "dpm_encoder"])
def test_a_way_back(unet, broken, prompts, name):
    from mental_averages.nodes.inversion import DDIMInvert, DDIMSample

    cfg = 3.0 if name == "null_text" else 1.0
    noise, trajectory, _ = DDIMInvert.execute(unet, prompts[0], pictures(), cfg=cfg, method=method(name),
                                              negative=prompts[1], measure=False, **LEVELS).args
    for given in (trajectory, *([] if name in ("null_text", "dpm_encoder") else [None])):
        with pytest.raises(ValueError, match=ADVICE):
            DDIMSample.execute(broken, *prompts, noise, cfg=cfg, trajectory=given, **LEVELS)


def test_the_sampler(broken, prompts):
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes import comfyui
    from mental_averages.nodes.inversion import DDIMSamplerSelect

    guider = core.BasicGuider.execute(broken, prompts[0]).args[0]
    sampler = DDIMSamplerSelect.execute(method("ddim")).args[0]
    for noise, latent, down in ((core.RandomNoise.execute(3), EMPTY, True), (core.DisableNoise.execute(), pictures(),
                                                                             False)):
        sigmas = comfyui.sigmas_of(broken, "simple", 4)
        sigmas = sigmas if down else core.FlipSigmas.execute(sigmas).args[0]
        with pytest.raises(ValueError, match=ADVICE):
            core.SamplerCustomAdvanced.execute(noise.args[0], guider, sampler, sigmas, latent)


def test_a_preview_of_a_training(broken, prompts, folders, monkeypatch):
    import latent_preview

    from mental_averages.nodes.training import TrainModeLoRA

    seen = types.SimpleNamespace(decode_latent_to_preview_image=lambda kind, latent: None)
    monkeypatch.setattr(latent_preview, "get_previewer", lambda *_: seen)
    with pytest.raises(ValueError, match=r"Step \d+ of 10: .*NaN.* preview after training step 2: lower learning_rate"):
        TrainModeLoRA.execute(broken, pictures(), prompts[0], 4, 1e-3, 1, 1, preview_interval=2, resume=True)
    losses = [state["losses"] for state in saved_states(folders).values()]
    assert losses and all(len(found) == 2 for found in losses), "what was trained is not lost"


def test_captured_features(unet, prompts, folders):
    from mental_averages.nodes.hspace import CaptureHSpace, HSpaceHook

    model = unet.clone()
    model.set_model_input_block_patch(lambda h, options: h * torch.nan)
    with pytest.raises(ValueError, match="The features at noise level .* NaN or infinity .2 of 2 latents.*precision"):
        CaptureHSpace.execute(HSpaceHook.execute(model, "auto", "none").args[0], prompts[0], pictures(), 0.5, 0, "kept")
    assert not list((folders / "output").iterdir())
