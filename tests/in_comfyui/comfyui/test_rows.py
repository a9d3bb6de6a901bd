"""What holds one entry for each latent of a batch: dealt out as core does it however the batch is split, or refused."""
import importlib

import pytest
import torch
from controls import controlled
from core_predictions import prompts, with_option
from inversions import invert, method, sample
from small_models import MODELS

MANY = 66  # latents of 4 x 8 x 8, of which 64 make a micro-batch
LAST = slice(MANY - 1, MANY)


def latents(count=MANY):
    return {"samples": torch.randn((count, 4, 8, 8), generator=torch.Generator().manual_seed(3))}


def by_ksampler(model, texts, z, cfg, steps):
    import comfy.sample

    from mental_averages.nodes import comfyui

    with torch.inference_mode():
        return comfy.sample.sample(model, z["samples"].clone(), steps, cfg, "euler", "simple", *texts,
                                   torch.zeros_like(z["samples"]), sigmas=comfyui.sigmas_of(model, "simple", steps))


def rows_of(latent, rows):
    return {"samples": latent["samples"][rows]}


@pytest.mark.parametrize("hints", [MANY, 4])
def test_each_latent_has_the_hint_that_a_ksampler_gives_it(unet, hints):
    texts, z = (controlled(prompts()[0], hints=hints), prompts()[1]), latents()
    ours = sample(unet, texts, z, cfg=2.0, steps=2)["samples"]
    torch.testing.assert_close(ours, by_ksampler(unet, texts, z, 2.0, 2), rtol=1e-3, atol=1e-3)
    last = (controlled(prompts()[0], hints=[(MANY - 1) % hints]), prompts()[1])
    torch.testing.assert_close(ours[LAST], sample(unet, last, rows_of(z, LAST), cfg=2.0, steps=2)["samples"],
                               rtol=1e-3, atol=1e-3)


def test_hints_of_chained_control_nets_and_of_a_control_lora(unet):
    def steered(hints):
        first, second = controlled(prompts()[0], hints=hints), controlled(prompts()[0], lora=True, hints=hints)
        second[0][1]["control"].set_previous_controlnet(first[0][1]["control"])
        return second, prompts()[1]

    z = latents()
    ours = sample(unet, steered(MANY), z, steps=2)["samples"]
    torch.testing.assert_close(ours, by_ksampler(unet, steered(MANY), z, 1.0, 2), rtol=1e-3, atol=1e-3)
    alone = sample(unet, steered([MANY - 1]), rows_of(z, LAST), steps=2)["samples"]
    torch.testing.assert_close(ours[LAST], alone, rtol=1e-3, atol=1e-3)


def test_pooled_prompts_of_a_batch(built):
    model, z = built("SDXL"), latents()
    positive, negative = prompts("SDXL")
    pooled = torch.randn((MANY, 16), generator=torch.Generator().manual_seed(5))
    texts = (with_option(positive, pooled_output=pooled), negative)
    torch.testing.assert_close(sample(model, texts, z, cfg=2.0, steps=2)["samples"],
                               by_ksampler(model, texts, z, 2.0, 2), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["ddim", "fixed_point", "exact", "null_text", "dpm_encoder"])
def test_an_inversion_of_a_batch_is_that_of_its_latents_alone(unet, name):
    """Even where latents that have arrived are left out of the later model calls of a step."""
    latent, cfg = latents(3), 3.0 if name == "null_text" else 1.0
    chosen = method(name, tolerance=1e-3) if name == "fixed_point" else method(name)
    texts = controlled(prompts()[0], hints=3), prompts()[1]
    together, trajectory, report = invert(unet, texts, latent, cfg=cfg, steps=3, method=chosen)
    back = sample(unet, texts, together, cfg=cfg, trajectory=trajectory)["samples"]
    for row in range(3):
        texts = controlled(prompts()[0], hints=[row]), prompts()[1]
        alone, single, found = invert(unet, texts, rows_of(latent, [row]), cfg=cfg, steps=3, method=chosen)
        torch.testing.assert_close(together["samples"][row], alone["samples"][0], rtol=1e-3, atol=1e-3)
        assert report.round_trip.mse[row] == pytest.approx(found.round_trip.mse[0], rel=1e-2, abs=1e-6)
        torch.testing.assert_close(back[row], sample(unet, texts, alone, cfg=cfg, trajectory=single)["samples"][0],
                                   rtol=1e-3, atol=1e-2)


def test_inversion_of_more_latents_than_a_micro_batch_holds(unet):
    texts, latent = (controlled(prompts()[0], hints=MANY), prompts()[1]), latents()
    noise = invert(unet, texts, latent, "ddim", steps=2, measure=False)[0]
    texts = controlled(prompts()[0], hints=[MANY - 1]), prompts()[1]
    alone = invert(unet, texts, rows_of(latent, LAST), "ddim", steps=2, measure=False)[0]
    torch.testing.assert_close(noise["samples"][LAST], alone["samples"], rtol=1e-3, atol=1e-3)


def test_features_of_a_batch(unet):
    from mental_averages.nodes.comfyui import HSpace
    from mental_averages.nodes.hspace import CaptureHSpace

    def captured(latent, **hints):
        with torch.inference_mode():
            return CaptureHSpace.execute(HSpace(unet, "output_blocks.3", "none"), controlled(prompts()[0], **hints),
                                         latent, 0.5, 0).args[0].values

    latent = latents()
    together = captured(latent, hints=MANY)
    torch.testing.assert_close(together[LAST], captured(rows_of(latent, LAST), hints=[MANY - 1]), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(together[LAST], captured(rows_of(latent, LAST), hints=[1]), rtol=1e-3, atol=1e-3)


def test_the_sampler_deals_them_out_too(unet):
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes import comfyui
    from mental_averages.nodes.inversion import DDIMSamplerSelect

    with torch.inference_mode():
        guider = core.BasicGuider.execute(unet, controlled(prompts()[0], hints=MANY)).args[0]
        arguments = (comfyui.sigmas_of(unet, "simple", 2), {"samples": torch.zeros(MANY, 4, 8, 8)})
        ours, theirs = (core.SamplerCustomAdvanced.execute(core.RandomNoise.execute(3).args[0], guider, chosen,
                                                           *arguments).args[0]["samples"]
                        for chosen in (DDIMSamplerSelect.execute(method("ddim")).args[0],
                                       core.KSamplerSelect.execute("euler").args[0]))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_averages_refuse_what_belongs_to_single_latents(unet, built):
    from alignments import run_align

    from mental_averages.nodes.alignment import AlignMixtureModes
    from mental_averages.nodes.baselines import ZeroLatent
    from mental_averages.nodes.comfyui import HSpace

    empty = {"samples": torch.zeros(1, 4, 8, 8)}
    texts = controlled(prompts()[0], hints=2), prompts()[1]
    with pytest.raises(ValueError, match="positive conditioning has a ControlNet with 2 different hints.*Connect one"):
        run_align(HSpace(unet, "middle_block", "none"), texts, empty, aligned_steps=0)
    with pytest.raises(ValueError, match="ControlNet with 2 different hints"):
        AlignMixtureModes.execute(HSpace(unet, "middle_block", "none"), *texts, empty, 4,
                                  {"components": "fixed", "modes": 2}, 2, 1, 2.0, "simple", 0, "draft", 0.5,
                                  resume=False)
    with pytest.raises(ValueError, match="ControlNet with 2 different hints"):
        ZeroLatent.execute(unet, *texts, empty, 2, 2.0, "simple", 0.0, 0)
    positive, negative = prompts("SDXL")
    pooled = with_option(positive, pooled_output=torch.randn((6, 16), generator=torch.Generator().manual_seed(5)))
    with pytest.raises(ValueError, match="negative conditioning has 6 different entries of y"):
        ZeroLatent.execute(built("SDXL"), positive, pooled, empty, 2, 2.0, "simple", 0.0, 0)
    same = controlled(prompts()[0], hints=[1, 1]), prompts()[1]
    alone = controlled(prompts()[0], hints=[1]), prompts()[1]
    torch.testing.assert_close(
        *(ZeroLatent.execute(unet, *which, empty, 2, 2.0, "simple", 0.0, 0).args[0]["samples"]
          for which in (same, alone)), rtol=1e-3, atol=1e-3)


def test_changed_copies_of_a_denoiser_make_their_parts_anew(bridge, unet):
    """At another guidance scale, at another layer, or one prompt at a time, after parts have been asked for."""
    texts = controlled(prompts()[0], hints=3), controlled(prompts()[1], hints=3)
    x = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(4))

    def with_one(layer, cfg, function):
        return bridge.with_denoiser(unet, *texts, cfg, torch.tensor([5.0, 0.0]), (4, 8, 8), 0, function, layer=layer,
                                    latents=3)

    def changed(denoiser):
        part = denoiser.of([1])
        part.denoise(x, 5.0), part.features(x, 5.0)
        guided, elsewhere = denoiser.with_guidance(7.0).of([1]), denoiser.at("output_blocks.3").of([1])
        assert denoiser.of([1]) is part and guided is not part
        return guided.denoise(x, 5.0), elsewhere.features(x, 5.0)

    found = with_one("middle_block", 1.0, changed)
    expected = (with_one("middle_block", 7.0, lambda denoiser: denoiser.of([1]).denoise(x, 5.0)),
                with_one("output_blocks.3", 1.0, lambda denoiser: denoiser.of([1]).features(x, 5.0)))
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_guiders_that_mix_latents_or_have_two_models(unet):
    """Perp-Neg takes a sum over the batch, and the second model of DualModelGuider has conditions of its own."""
    import comfy_extras.nodes_custom_sampler as core
    from comfy_extras.nodes_perpneg import PerpNegGuider

    from mental_averages.nodes import comfyui
    from mental_averages.nodes.inversion import DDIMSamplerSelect

    empty = MODELS["SD1.5"].conditioning(3)
    noise = torch.randn((3, 4, 6, 4), generator=torch.Generator().manual_seed(4))

    def drawn(rows, kind, hints):
        negative = controlled(prompts()[1], hints=hints)
        guider = (core.DualModelGuider.execute(unet, prompts()[0], 4.0, unet.clone(), negative) if kind == "dual" else
                  PerpNegGuider.execute(unet, prompts()[0], negative, empty, 4.0, 1.0)).args[0]
        given = core.Noise_EmptyNoise()
        given.generate_noise = lambda latent: noise[rows]
        with torch.inference_mode():
            return core.SamplerCustomAdvanced.execute(
                given, guider, DDIMSamplerSelect.execute(method("ddim")).args[0], comfyui.sigmas_of(unet, "simple", 2),
                {"samples": torch.zeros_like(noise[rows])}).args[0]["samples"]

    for kind in ("perpneg", "dual"):
        together = drawn(slice(None), kind, 3)
        for row in range(3):
            alone = drawn(slice(row, row + 1), kind, [row])
            torch.testing.assert_close(together[row: row + 1], alone, rtol=1e-3, atol=1e-3)


def test_hints_are_prepared_once_where_each_latent_is_asked_for_alone(unet, monkeypatch):
    import comfy.controlnet
    import comfy_extras.nodes_custom_sampler as core
    from comfy_extras.nodes_perpneg import PerpNegGuider

    from mental_averages.nodes import comfyui
    from mental_averages.nodes.inversion import DDIMSamplerSelect

    prepared, prepare = [], comfy.controlnet.comfy.utils.common_upscale

    def counting(*arguments):
        prepared.append(1)
        return prepare(*arguments)

    monkeypatch.setattr(comfy.controlnet.comfy.utils, "common_upscale", counting)
    with torch.inference_mode():
        guider = PerpNegGuider.execute(unet, prompts()[0], controlled(prompts()[1], hints=3),
                                       MODELS["SD1.5"].conditioning(3), 4.0, 1.0).args[0]
        core.SamplerCustomAdvanced.execute(
            core.RandomNoise.execute(3).args[0], guider, DDIMSamplerSelect.execute(method("ddim")).args[0],
            comfyui.sigmas_of(unet, "simple", 4), {"samples": torch.zeros(3, 4, 6, 4)})
    assert len(prepared) == 3


def test_more_latents_than_a_micro_batch_by_two_models(unet):
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes import comfyui
    from mental_averages.nodes.inversion import DDIMSamplerSelect

    negative = controlled(prompts()[1], hints=MANY)
    with torch.inference_mode():
        guider = core.DualModelGuider.execute(unet, prompts()[0], 4.0, unet.clone(), negative).args[0]
        arguments = (comfyui.sigmas_of(unet, "simple", 2), {"samples": torch.zeros(MANY, 4, 8, 8)})
        ours, theirs = (core.SamplerCustomAdvanced.execute(core.RandomNoise.execute(3).args[0], guider, chosen,
                                                           *arguments).args[0]["samples"]
                        for chosen in (DDIMSamplerSelect.execute(method("ddim")).args[0],
                                       core.KSamplerSelect.execute("euler").args[0]))
    torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("rescaling", [0.0, 0.7])
def test_what_asks_the_model_again_is_asked_of_each_latent_alone(bridge, built, rescaling):
    from comfy_extras.nodes_slg import SkipLayerGuidanceDiT
    from stopping import Calls

    calls = Calls(built("SD3"))
    patched = SkipLayerGuidanceDiT.execute(calls.model, 3.0, 0.0, 1.0, "1", "", rescaling).args[0]
    x = torch.randn((3, 16, 8, 8), generator=torch.Generator().manual_seed(4))

    def by_us(model, rows):
        return bridge.with_denoiser(model, *prompts("SD3"), 4.0, torch.tensor([0.7, 0.0]), (16, 8, 8), 0,
                                    lambda denoiser: denoiser.denoise(x[rows], 0.7), layer=None, gradients=False)

    count, together = calls.during(by_us, patched, slice(None))
    assert (together - by_us(calls.model, slice(None))).abs().max() > 1e-3
    assert count == (6 if rescaling else 2), "alone only where it has to be"
    for row in range(3):
        torch.testing.assert_close(together[row: row + 1], by_us(patched, slice(row, row + 1)), rtol=1e-4, atol=1e-4)


def test_patches_see_the_level_of_each_row(bridge, unet):
    """In training, where rows have levels of their own; Deep Shrink looks at that of the first."""
    from comfy_extras.nodes_model_downscale import PatchModelAddDownscale

    patched = PatchModelAddDownscale.execute(unet, 1, 2.0, 0.0, 0.35, True, "bicubic", "bicubic").args[0]
    x, levels = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(4)), torch.tensor([12.0, 0.5])

    def by_us(rows):
        return bridge.with_denoiser(patched, *prompts(), 1.0, torch.tensor([12.0, 0.0]), (4, 8, 8), 0,
                                    lambda denoiser: denoiser.denoise_differentiably(x[rows], levels[rows]))

    together = by_us(slice(None)).detach()
    for row in range(2):
        torch.testing.assert_close(together[row: row + 1], by_us(slice(row, row + 1)).detach(), rtol=1e-4, atol=1e-4)


def test_pictures_of_patches(comfyui):
    from comfy.ldm.supir.supir_patch import SUPIRPatch
    from comfy_extras.nodes_model_patch import UsoStyleProjectorPatch

    from mental_averages.nodes.comfyui._rows import check_patches

    def check(patch):
        check_patches({"transformer_options": {"patches": {"somewhere": [patch]}}})

    def of_uso(pictures):
        return UsoStyleProjectorPatch(None, torch.zeros(3, pictures, 5, 8))

    def of_supir(pictures):
        return SUPIRPatch(None, None, torch.zeros(pictures, 4, 8, 8), 1.0, 1.0)

    for patch in (of_uso(1), of_supir(1).middle_after, (dict, of_supir(1).middle_after)):
        check(patch)
    for patch in (of_uso(2), of_supir(2).middle_after, (dict, of_supir(2).middle_after)):
        with pytest.raises(ValueError, match="Patch. holds 2 pictures.*connect one picture"):
            check(patch)


@pytest.mark.parametrize("name, module, options", [
    ("Mahiro", "mahiro", ()), ("PerpNeg", "perpneg", (MODELS["SD1.5"].conditioning(3), 1.0)),
    ("RenormCFG", "lumina2", (100.0, 0.5)), ("TemporalScoreRescaling", "eps", (0.5, 1.0))])
def test_guidance_of_a_batch_is_that_of_each_latent_alone(bridge, unet, name, module, options):
    """Core's nodes that take a mean over the batch, or cannot take one of several latents."""
    node = getattr(importlib.import_module(f"comfy_extras.nodes_{module}"), name)
    patched = node.execute(unet, *options).args[0]
    x = torch.randn((3, 4, 6, 4), generator=torch.Generator().manual_seed(4))

    def by_us(rows):
        return bridge.with_denoiser(patched, *prompts(), 4.0, torch.tensor([5.0, 0.0]), (4, 6, 4), 0,
                                    lambda denoiser: denoiser.denoise(x[rows], 5.0))

    together = by_us(slice(None))
    plain = bridge.with_denoiser(unet, *prompts(), 4.0, torch.tensor([5.0, 0.0]), (4, 6, 4), 0,
                                 lambda denoiser: denoiser.denoise(x, 5.0))
    assert (together - plain).abs().max() > 1e-3
    for row in range(3):
        torch.testing.assert_close(together[row: row + 1], by_us(slice(row, row + 1)), rtol=1e-4, atol=1e-4)
