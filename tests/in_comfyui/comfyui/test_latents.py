"""LATENTs of pictures in the form of videos of one frame, as Qwen-Image's VAE gives them, through every node that takes
one: what comes out is what the plain form gives."""
import pytest
import torch
from alignments import execute
from inversions import METHODS, method
from small_models import MODELS

STEPS = dict(steps=4, scheduler="simple")
ONE_MODE = {"components": "fixed", "modes": 1}


@pytest.fixture(scope="module")
def qwen(built):
    """(MODEL, positive, negative, samples (3, 16, H, W))."""
    kind = MODELS["Qwen-Image"]
    samples = torch.randn(3, 16, *kind.size, generator=torch.Generator().manual_seed(4))
    return built("Qwen-Image"), kind.conditioning(1), kind.conditioning(2), samples


def both(samples):
    """A LATENT in either form."""
    return {"samples": samples}, {"samples": samples.unsqueeze(2)}


def hook(model):
    from mental_averages.nodes.hspace import HSpaceHook

    return HSpaceHook.execute(model, "auto", "none").args[0]


@torch.inference_mode()
def same(run, samples):
    """What `run(latent)` gives for the plain form, once it has given the same for the other."""
    plain, framed = (run(latent) for latent in both(samples))
    assert torch.isfinite(plain).all() and plain.any()
    torch.testing.assert_close(framed, plain, rtol=0, atol=0)
    return plain


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("null_text",)])
def test_inversion(qwen, name):
    from mental_averages.nodes.inversion import DDIMInvert

    model, positive, negative, samples = qwen
    found = []

    def run(latent):
        noise, trajectory, _ = DDIMInvert.execute(model, positive, latent, cfg=1.0, method=method(name),
                                                  negative=negative, measure=False, **STEPS).args
        found.append(trajectory.trajectory.latents[0])
        return noise["samples"]

    assert same(run, samples).shape == samples.shape
    assert found[0].any() and torch.equal(*found)


def test_sampling(qwen):
    from mental_averages.nodes.inversion import DDIMSample

    model, positive, negative, samples = qwen

    def run(latent, **change):
        return DDIMSample.execute(model, positive, negative, latent, cfg=2.0, **STEPS, **change).args[0]["samples"]

    drawn = same(run, samples)
    with torch.inference_mode():
        zeros = run({"samples": torch.zeros(3, 16, 1, *samples.shape[2:])})
    assert drawn.shape == (3, 16, 1, *samples.shape[2:]) and (drawn - zeros).abs().max() > 0.1


@pytest.mark.parametrize("flipped", [False, True])
def test_the_sampler(qwen, flipped):
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes import comfyui
    from mental_averages.nodes.inversion import DDIMSamplerSelect

    model, positive, _, samples = qwen
    sigmas = comfyui.sigmas_of(model, "simple", 4)
    sigmas = core.FlipSigmas.execute(sigmas).args[0] if flipped else sigmas

    def run(latent):
        guider = core.BasicGuider.execute(model, positive).args[0]
        sampler = DDIMSamplerSelect.execute(method("ddim")).args[0]
        noise = core.DisableNoise.execute().args[0]
        outputs = core.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).args
        return torch.cat([output["samples"] for output in outputs])

    assert same(run, samples).shape == (6, 16, 1, *samples.shape[2:])


def test_an_empty_latent_of_either_form_gives_the_size(qwen):
    from mental_averages.nodes.alignment import AlignMixtureModes
    from mental_averages.nodes.baselines import ZeroLatent

    model, *texts, samples = qwen
    runs = (lambda latent: ZeroLatent.execute(model, *texts, latent, cfg=2.0, noise_scale=1.0, seed=1, **STEPS).args[0],
            lambda latent: execute(model, *texts, latent, count=3, aligned_steps=1, iterations=2, cfg=2.0, seed=1,
                                   keep=2, resume=False, **STEPS)[0],
            lambda latent: AlignMixtureModes.execute(hook(model), *texts, latent, 6, ONE_MODE, 4, 1, 2.0, "simple", 1,
                                                     "draft", 0.3, minimum_size=1, resume=False).args[0])
    for run in runs:
        found = same(lambda latent, run=run: run(latent)["samples"], torch.zeros_like(samples))
        assert found.shape[1:] == (16, 1, *samples.shape[2:])


def test_the_layer_probe(qwen):
    from mental_averages.nodes.hspace import SemanticLayerProbe

    model, *texts, samples = qwen
    prompts = {f"prompts{number}": text for number, text in enumerate(texts)}

    def run(latent):
        report = SemanticLayerProbe.execute(model, prompts, texts[1], latent, 4, "0.25", 4, 2.0, "simple", 0, "none",
                                            matched=0, cached=False).args[3]
        return torch.tensor([layer.score for layer in report.layers])

    same(run, torch.zeros_like(samples[:1]))


def test_features_and_modes_of_given_samples(qwen):
    from mental_averages.nodes.alignment import AlignMixtureModes
    from mental_averages.nodes.hspace import CaptureHSpace

    model, *texts, samples = qwen
    same(lambda latent: CaptureHSpace.execute(hook(model), texts[0], latent, 0.5, 0).args[0].values, samples)
    same(lambda latent: AlignMixtureModes.execute(hook(model), *texts, latent, 3, ONE_MODE, 4, 1, 2.0, "simple", 1,
                                                  "draft", 0.3, samples=latent, minimum_size=1,
                                                  resume=False).args[0]["samples"], samples)


def test_training(qwen):
    from mental_averages.nodes.training import TrainModeLoRA

    model, positive, _, samples = qwen
    same(lambda latent: torch.tensor(TrainModeLoRA.execute(model, latent, positive, 2, 1e-3, 1, 1, preview_interval=1,
                                                           resume=False).args[2]["loss"]), samples)


def test_nodes_without_a_model(qwen):
    from mental_averages.nodes.baselines import AverageLatents
    from mental_averages.nodes.interpolation import (
        ChannelMeanInterpolate,
        LatentOffset,
        LatentStatistics,
        MixingWeights,
    )

    samples = qwen[3]
    same(lambda latent: ChannelMeanInterpolate.execute({"latents0": latent}, "", "fix", "channel").args[0]["samples"],
         samples)
    same(lambda latent: torch.tensor(LatentStatistics.execute({"latents0": latent}).args[1].norms), samples)
    with torch.inference_mode():
        for run in (lambda latent: LatentOffset.execute(latent, "0, 0.1"), AverageLatents.execute):
            plain, framed = (run(latent).args[0]["samples"] for latent in both(samples))
            assert torch.equal(framed, plain.unsqueeze(2))
        first, second = (MixingWeights.execute(1, {"mode": "path", "steps": 2, "closed": False}, latent).args
                         for latent in both(samples))
    assert first == second


def test_real_videos_are_refused(qwen):
    from mental_averages.nodes.inversion import DDIMSample

    model, *texts, samples = qwen
    with pytest.raises(ValueError, match="video, audio or combined latent"):
        DDIMSample.execute(model, *texts, {"samples": samples.unsqueeze(2).repeat(1, 1, 2, 1, 1)}, cfg=2.0, **STEPS)


def test_an_empty_latent_of_another_kind_of_model_is_made_to_fit(unet):
    from mental_averages.nodes import comfyui

    assert comfyui.samples_of(unet, {"samples": torch.zeros(2, 16, 8, 8)}).shape == (2, 4, 8, 8)
    with pytest.raises(ValueError, match="NaN"):
        comfyui.samples_of(unet, {"samples": torch.full((2, 4, 8, 8), torch.nan)})


def test_noise_whose_codes_were_kept_apart_is_refused_by_what_mixes_or_reads_it(bridge):
    """Whatever else a node hands on with it: in any order, alone, in either form, but not what another node made."""
    from mental_averages.nodes.baselines import AverageLatents
    from mental_averages.nodes.interpolation import (
        ChannelMeanInterpolate,
        LatentOffset,
        LatentStatistics,
        MixingWeights,
    )

    coded = bridge.coded_latent(torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)), "dpm_encoder")
    plain = {"samples": torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))}
    message = "the start of an inversion by dpm_encoder.*codes cannot be mixed or averaged"
    for part in (coded, {**coded, "samples": coded["samples"][[2]]}, {**coded, "samples": coded["samples"].flip(0)},
                 {**coded, "samples": coded["samples"].unsqueeze(2)}):
        with pytest.raises(ValueError, match=message):
            ChannelMeanInterpolate.execute({"latents0": plain, "latents1": part}, "", "fix", "channel")
        with pytest.raises(ValueError, match=message):
            AverageLatents.execute(part)
        with pytest.raises(ValueError, match=message):
            LatentStatistics.execute({"latents0": part}, 1, 0)
        with pytest.raises(ValueError, match=message):
            MixingWeights.execute(3, {"mode": "random", "rows": 2, "seed": 0}, batch=part)
        assert bridge.image_latents(part, "It", coded=True).shape[1:] == (4, 8, 8)
    with pytest.raises(ValueError, match=message):
        LatentOffset.execute(coded, "0.1")
    AverageLatents.execute({**coded, **plain})  # what another node has made of it, with its entry handed on
