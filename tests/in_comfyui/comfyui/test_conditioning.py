"""Whatever is patched on a MODEL or carried by its conditioning: the Denoiser predicts what core's guider predicts.

Features have to come from the same pass, so they are compared with what a hook reads while core's guider runs.
"""
import pytest
import torch
from alignments import execute
from core_predictions import SHAPE, SIGMA, by_core, by_us, compare, noise, prompts, with_option
from small_models import MODELS


@pytest.mark.parametrize("name", ["SD1.5", "SD2.x", "SDXL", "SDXL refiner"])
def test_guidance_and_negative_prompts(bridge, unet, name):
    compare(bridge, unet if name == "SD1.5" else MODELS[name].build(), *prompts(name))


def test_sizes_of_sdxl_reach_the_features(bridge):
    model, (positive, negative) = MODELS["SDXL"].build(), prompts("SDXL")
    plain = compare(bridge, model, positive, negative)
    other = compare(bridge, model, with_option(positive, width=512, height=1024, crop_w=8), negative)
    assert not torch.allclose(plain, other)


def test_several_entries_with_strengths_and_ranges(bridge, unet):
    positive, negative = prompts()
    second = with_option(MODELS["SD1.5"].conditioning(3), strength=0.25)
    together = compare(bridge, unet, positive + second, negative)
    alone, other = compare(bridge, unet, positive, negative), compare(bridge, unet, second, negative)
    torch.testing.assert_close(together, (alone + 0.25 * other) / 1.25, rtol=1e-4, atol=1e-5)
    late = with_option(MODELS["SD1.5"].conditioning(3), start_percent=0.9, end_percent=1.0)
    torch.testing.assert_close(compare(bridge, unet, positive + late, negative), alone)
    default = with_option(MODELS["SD1.5"].conditioning(3), default=True)
    torch.testing.assert_close(compare(bridge, unet, positive + default, negative), alone)


def test_default_entries_get_what_the_others_leave(bridge, unet):
    positive, negative = prompts()
    default = with_option(MODELS["SD1.5"].conditioning(3), default=True, strength=0.1)
    alone, other = (compare(bridge, unet, entries, negative) for entries in (positive, MODELS["SD1.5"].conditioning(3)))
    for strength in (0.5, 0.25):
        found = compare(bridge, unet, with_option(positive, strength=strength) + default, negative)
        torch.testing.assert_close(found, strength * alone + (1 - strength) * other, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compare(bridge, unet, default, negative), other)


@pytest.mark.parametrize("branch", ["conditional", "unconditional", "guided"])
def test_patches_are_told_which_side_a_prompt_is_on(bridge, unet, branch):
    from mental_averages.nodes import comfyui

    model, calls, layer = unet.clone(), [], "output_blocks.3"

    def louder_negative(q, k, v, options):
        calls.append(options["cond_or_uncond"])
        factors = torch.tensor([1.0 + 2 * side for side in calls[-1]]).repeat_interleave(len(k) // len(calls[-1]))
        return q, factors[:, None, None] * k, v

    model.set_model_attn2_patch(louder_negative)
    _, read = by_core(model, *prompts(), 7.0, SIGMA, SHAPE,
                      comfyui.places(unet.model.diffusion_model)[layer].module)
    positive, negative = (read.chunk(2)[calls[-1].index(side)] for side in (0, 1))
    expected = {"conditional": positive, "unconditional": negative,
                "guided": negative + 7 * (positive - negative)}[branch]
    found = []

    def run(denoiser):
        with torch.no_grad():
            found.append(denoiser.features(noise(SHAPE), SIGMA))
        found.append(denoiser.all_features(noise(SHAPE), SIGMA, [layer])[layer])
        return noise(SHAPE)

    bridge.with_denoiser(model, *prompts(), 7.0, torch.tensor([SIGMA, 0.0]), SHAPE, 0, run, layer, branch=branch)
    for features in found:
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


def with_weight_patch(model):
    """As a LoRA does it: a difference added to weights when the model is loaded."""
    model, generator = model.clone(), torch.Generator().manual_seed(5)
    patches = {f"diffusion_model.{key}": ("diff",
                                          (0.2 * weight.abs().mean() * torch.randn(weight.shape, generator=generator),))
               for key, weight in model.model.diffusion_model.named_parameters() if weight.ndim == 2}
    assert patches and len(model.add_patches(patches, 1.0)) == len(patches)
    return model


def with_attention_patch(model):
    model = model.clone()
    model.set_model_attn2_patch(lambda q, k, v, options: (q, 1.5 * k, v))
    return model


def with_slow_attention(model):
    import comfy.ldm.modules.attention

    model = model.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = (
        lambda attention, *arguments, **options: comfy.ldm.modules.attention.attention_basic(*arguments, **options))
    return model


def with_free_u(model):
    from comfy_extras.nodes_freelunch import FreeU_V2

    return FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2).args[0]


def with_rescaled_guidance(model):
    from comfy_extras.nodes_model_advanced import RescaleCFG

    return RescaleCFG().patch(model, 0.7)[0]


def with_sampling(sampling, zsnr):
    def patch(model):
        from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

        return ModelSamplingDiscrete().patch(model, sampling, zsnr)[0]
    return patch


@pytest.mark.parametrize("patch, moves_features", [
    (with_weight_patch, True), (with_attention_patch, True), (with_slow_attention, False), (with_free_u, True),
    (with_rescaled_guidance, False),
    (with_sampling("v_prediction", False), False), (with_sampling("v_prediction", True), True),
    (with_sampling("lcm", False), True),
    (with_sampling("x0", False), False)],
    ids=["lora", "attention patch", "attention override", "FreeU", "RescaleCFG", "v", "v with zero terminal SNR", "lcm",
         "x0"])
def test_patched_models(bridge, unet, patch, moves_features):
    plain = compare(bridge, unet, *prompts())
    patched = compare(bridge, patch(unet), *prompts())
    assert torch.allclose(patched, plain, rtol=1e-3, atol=1e-4) != moves_features
    # The patch is gone with its MODEL: another node that uses the unpatched one gets what it got before.
    assert torch.equal(compare(bridge, unet, *prompts()), plain)


@pytest.mark.parametrize("name", ["SD1.5", "SD3"])
def test_a_weight_patch_on_weights_that_do_not_fit_the_device(bridge, name):
    """Weights that are patched anew at every layer (on the CPU, so without buffers of a GPU)."""
    import comfy.model_patcher
    import comfy.patcher_extension

    model, patched_at_each_call = with_weight_patch(MODELS[name].build()), []

    def load_in_part(executor, patcher, *arguments, **options):
        result = executor(patcher, *arguments, **options)
        patcher.unpatch_model(patcher.offload_device)  # otherwise its weights would be patched twice
        patcher.patch_model(patcher.load_device, lowvram_model_memory=1)
        patched_at_each_call.append(any(isinstance(function, comfy.model_patcher.LowVramPatch)
                                        for module in patcher.model.modules()
                                        for function in getattr(module, "weight_function", [])))
        return result

    sigma = 0.6 if name == "SD3" else SIGMA
    shape = (model.model.latent_format.latent_channels, *MODELS[name].size)
    expected, _ = by_core(model, *prompts(name), 4.0, sigma, shape)
    model.unpatch_model()
    model.add_wrapper(comfy.patcher_extension.WrappersMP.PREPARE_SAMPLING, load_in_part)
    denoised, _, error = by_us(bridge, model, *prompts(name), 4.0, sigma, shape, "auto")
    torch.testing.assert_close(denoised, expected, rtol=1e-4, atol=1e-4)
    assert error < 0.01 and patched_at_each_call == [True]


def test_zero_terminal_snr_samples_like_core(bridge, unet):
    import nodes

    model, empty = with_sampling("v_prediction", True)(unet), {"samples": torch.zeros(1, *SHAPE)}
    with torch.inference_mode():
        (core,) = nodes.common_ksampler(model, 3, 4, 3.0, "ddim", "normal", *prompts(), empty)
        ours, _ = execute(model, *prompts(), empty, count=1, steps=4, aligned_steps=0, cfg=3.0, scheduler="normal",
                          seed=3, keep=1, resume=False)
    torch.testing.assert_close(ours["samples"], core["samples"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["SD3", "Flux", "AuraFlow", "Z-Image"])
def test_flow_models_with_shift_and_weight_patch(bridge, name):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    model = with_weight_patch(MODELS[name].build())
    model = ModelSamplingSD3().patch(model, 5.0, 1000 if name == "SD3" else 1.0)[0]
    shape = (model.model.latent_format.latent_channels, *MODELS[name].size)
    expected, _ = by_core(model, *prompts(name), 4.0, 0.6, shape)
    denoised, _, error = by_us(bridge, model, *prompts(name), 4.0, 0.6, shape, "auto")
    assert torch.equal(denoised, expected) and error < 0.01


def test_flux_guidance_reaches_the_features(bridge):
    model, (positive, negative) = MODELS["Flux"].build(), prompts("Flux")
    _, low, _ = by_us(bridge, model, with_option(positive, guidance=1.0), negative, 1.0, 0.6, (16, 6, 4), "auto")
    _, high, _ = by_us(bridge, model, with_option(positive, guidance=30.0), negative, 1.0, 0.6, (16, 6, 4), "auto")
    assert not torch.allclose(low, high)


@pytest.mark.parametrize("name", MODELS)
def test_what_stands_for_the_empty_prompt_knows_nothing_of_the_prompt(built, bridge, name):
    (first, options), (second, _) = (MODELS[name].conditioning(seed)[0] for seed in (1, 2))
    # All prompts have the start of the text in common.
    prompts = [[first, options]], [[torch.cat([first[:, :1], second[:, 1:]], 1), MODELS[name].conditioning(2)[0][1]]]
    (text, around), (other_text, other_around) = (bridge.without_prompt(built(name), each)[0] for each in prompts)
    assert torch.equal(text, other_text) and around.keys() == other_around.keys() == options.keys()
    assert all(torch.equal(value, other_around[key]) for key, value in around.items())


def test_what_stands_for_the_empty_prompt_keeps_what_is_no_prompt(built, bridge):
    hint, inpainted, text = object(), torch.ones(1, 4, 8, 8), torch.ones(1, 7, 16)
    positive = with_option(MODELS["SDXL"].conditioning(1), control=hint, concat_latent_image=inpainted, strength=0.5,
                           unclip_conditioning=[{"strength": 1.0}], conditioning_llama3=text, t5xxl_weights=text[0, 0])
    ((_, found),) = bridge.without_prompt(built("SDXL"), positive)
    assert found["control"] is hint and found["concat_latent_image"] is inpainted and found["strength"] == 0.5
    assert "unclip_conditioning" not in found and not found["conditioning_llama3"].any()
    assert not found["t5xxl_weights"].any() and text.all() and "unclip_conditioning" in positive[0][1]
    with pytest.raises(ValueError, match="nothing stands for the empty prompt: connect a CLIP Text Encode"):
        bridge.without_prompt(built("SDXL"), with_option(positive, text_input_ids=torch.ones(1, 7)))
