"""MentalAverage against the same average computed by hand on core's own guider, and the promises of its widgets."""
import pytest
import torch
from alignments import align
from small_models import MODELS
from stopping import Calls, saved_states, untouched

import pack

COUNT, STEPS, AVERAGED, CFG, SHARE, SEED = 5, 6, 2, 5.0, 0.5, 9


def average(model, prompts, shape=(4, 8, 8), **change):
    from mental_averages.nodes.mean_shift import MentalAverage

    arguments = dict(count=COUNT, steps=STEPS, averaged_steps=AVERAGED, cfg=CFG, scheduler="normal", seed=SEED,
                     guidance_share=SHARE, restored_noise=0.0, resume=False)
    with torch.inference_mode():
        return MentalAverage.execute(model, prompts[0], {"samples": torch.zeros(1, *shape)},
                                     **{**arguments, "negative": prompts[1], **change}).args


def by_hand(model, prompts, shape=(4, 8, 8), scheduler="normal", start=None, first=0):
    """The equations of the average, on a guider of core's and with core's noise, scaling and Euler steps.

    start: a clean latent (1, C, H, W) as a LATENT holds it, noised for the first time before the step `first`.
    """
    import comfy.k_diffusion.sampling
    import comfy.sample
    import comfy.samplers

    from mental_averages.dma.mean_shift import level_seed

    found = []

    class Sampler(comfy.samplers.Sampler):
        def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None,
                   disable_pbar=False):
            sampling, mean = model_wrap.inner_model.model_sampling, torch.zeros(1, *noise.shape[1:])
            if start is not None:
                mean = model.model.process_latent_in(start)
            model_wrap.set_cfg(1 + SHARE * (CFG - 1))
            for step, sigma in enumerate(sigmas[first : first + AVERAGED], start=first):
                seed = level_seed(SEED, step, given=start is not None)
                half = comfy.sample.prepare_noise(noise[: (COUNT + 1) // 2], seed)
                eps = torch.stack([half, -half], dim=1).flatten(0, 1)[:COUNT].view_as(noise)
                from_nothing = step == 0 and start is None and self.max_denoise(model_wrap, sigmas)
                x = sampling.noise_scaling(sigma, eps, mean.expand_as(eps), from_nothing)
                rows = [model_wrap(row[None], sigma[None], **extra_args) for row in x]
                mean = torch.cat(rows).mean(0, keepdim=True)
            model_wrap.set_cfg(CFG)
            rest = sigmas[first + AVERAGED :]
            x = sampling.noise_scaling(rest[0], torch.zeros_like(mean), mean)
            found.append(comfy.k_diffusion.sampling.sample_euler(model_wrap, x, rest, extra_args, disable=True))
            return noise

    with torch.inference_mode():
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, STEPS)
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(*prompts)
        guider.set_cfg(CFG)
        single_frame = model.model.latent_format.latent_dimensions == 3
        noise = torch.zeros(COUNT, shape[0], *([1] if single_frame else []), *shape[1:])
        guider.sample(noise, noise.clone(), Sampler(), sigmas, seed=SEED)
        return model.model.process_latent_out(found[0])


def check_against_core(model, prompts, shape=(4, 8, 8), scheduler="normal"):
    expected = by_hand(model, prompts, shape, scheduler)
    latent, variety, report = average(model, prompts, shape, batch_size=2, scheduler=scheduler)
    torch.testing.assert_close(latent["samples"].reshape(expected.shape), expected, rtol=1e-3, atol=1e-3)
    assert torch.isfinite(variety).all() and len(report.levels) == AVERAGED
    return expected


@pytest.mark.parametrize("name, shape", [("SD1.5", (4, 8, 8)), ("SD2.x", (4, 8, 8)), ("SDXL", (4, 8, 8)),
                                         ("SD3", (16, 8, 8)), ("Qwen-Image", (16, 8, 8))])
def test_equals_the_equations_on_cores_guider(built, name, shape):
    check_against_core(built(name), (MODELS[name].conditioning(1), MODELS[name].conditioning(2)), shape)


@pytest.mark.parametrize("scheduler", ["ddim_uniform", "karras", "kl_optimal"])
def test_equals_the_equations_with_every_kind_of_schedule(small, scheduler):
    check_against_core(*small, scheduler=scheduler)


@pytest.mark.parametrize("name, shape", [("SD1.5", (4, 8, 8)), ("SD3", (16, 8, 8))])
@pytest.mark.parametrize("first", [0, 3])
def test_goes_on_from_the_weighted_mean_of_given_latents(built, name, shape, first):
    model, prompts = built(name), (MODELS[name].conditioning(1), MODELS[name].conditioning(2))
    given = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    expected = by_hand(model, prompts, shape, start=0.25 * given[:1] + 0.75 * given[2:], first=first)
    latent, _, report = average(model, prompts, shape, start={"samples": given}, start_step=first,
                                start_weights="1, 0, 3")
    torch.testing.assert_close(latent["samples"], expected, rtol=1e-3, atol=1e-3)
    assert report.settings["first"] == first and len(report.levels) == AVERAGED


def test_another_start_is_another_run(small, folders):
    model, prompts = small
    given = [{"samples": torch.full((1, 4, 8, 8), value)} for value in (0.5, 1.0)]
    one, other = (average(model, prompts, start=start, resume=True)[0]["samples"] for start in given)
    again = average(model, prompts, start=given[0], resume=True)[0]["samples"]
    assert torch.equal(one, again) and not torch.equal(one, other)


def with_option(conditioning, **options):
    return [[tensor, {**found, **options}] for tensor, found in conditioning]


@pytest.mark.parametrize("options", [
    {"area": (4, 8, 0, 0), "strength": 1.0}, {"mask": torch.eye(64)[None], "mask_strength": 0.8},
    {"start_percent": 0.2, "end_percent": 0.9}], ids=["an area", "a mask", "a range"])
def test_regional_prompts_are_honoured_as_core_does(small, options):
    model, (positive, negative) = small
    whole = with_option(MODELS["SD1.5"].conditioning(3), strength=0.5)
    found = check_against_core(model, (with_option(positive, **options) + whole, negative))
    assert (found - by_hand(model, (positive, negative))).abs().max() > 1e-2


def hooked(model, conditioning):
    """A prompt with a LoRA that core turns on only late in a sampling."""
    import comfy.hooks

    key = "input_blocks.1.0.in_layers.2.weight"
    shape = model.model.diffusion_model.get_parameter(key).shape
    generator = torch.Generator().manual_seed(4)
    # As core's own adapters give a difference of weights.
    group = comfy.hooks.create_hook_lora({}, 1.0, 1.0)
    (hook,) = group.hooks
    hook.weights = {f"diffusion_model.{key}": (0.3 * torch.randn(shape, generator=generator),)}
    hook.need_weight_init = False
    keyframes = comfy.hooks.HookKeyframeGroup()
    keyframes.add(comfy.hooks.HookKeyframe(strength=0.0, start_percent=0.0))
    keyframes.add(comfy.hooks.HookKeyframe(strength=1.0, start_percent=0.3))
    group.set_keyframes_on_hooks(keyframes)
    return with_option(conditioning, hooks=group)


def test_hooks_are_honoured_as_core_does_and_a_kept_state_moves_no_keyframe(small, folders):
    model, (positive, negative) = small
    prompts = hooked(model, positive), negative
    found = check_against_core(model, prompts)
    assert (found - by_hand(model, (positive, negative))).abs().max() > 1e-2
    calls = Calls(model)
    first, kept = calls.during(average, calls.model, prompts, resume=True)
    again, back = calls.during(average, calls.model, prompts, resume=True)
    torch.testing.assert_close(kept[0]["samples"], found, rtol=1e-3, atol=1e-3)
    assert torch.equal(back[0]["samples"], kept[0]["samples"]) and again < first


def test_inpainting_models_are_taken(comfyui):
    model = MODELS["SD1.5"].build(in_channels=9)
    model.model.set_inpaint()
    check_against_core(model, (MODELS["SD1.5"].conditioning(1), MODELS["SD1.5"].conditioning(2)))


def test_models_without_a_gradient_are_taken(comfyui, folders):
    model, prompts = MODELS["SD1.5"].build(), (MODELS["SD1.5"].conditioning(1), MODELS["SD1.5"].conditioning(2))
    layer = model.model.diffusion_model.middle_block[0]
    whole = layer.forward
    # As quantised layers of some loaders do it, which multiply outside autograd.
    layer.forward = lambda *arguments, **options: whole(*arguments, **options).detach()
    check_against_core(model, prompts)
    with torch.inference_mode(), pytest.raises(ValueError, match="cannot be differentiated"):
        align(model, prompts, resume=True)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float16, torch.bfloat16], ids=str)
def test_small_types_of_weights_are_taken(comfyui, dtype):
    model = MODELS["SD1.5"].build(dtype, manual_cast=torch.float32)
    check_against_core(model, (MODELS["SD1.5"].conditioning(1), MODELS["SD1.5"].conditioning(2)))


def test_two_seeds_give_one_picture_where_plain_samples_differ(demo):
    import nodes

    prompts = pack.encode_prompt(demo[1], "cat face"), pack.encode_prompt(demo[1], "")
    seeds = dict(count=16, steps=10, averaged_steps=2, cfg=7.0, guidance_share=0.7)
    ours = [average(demo[0], prompts, seed=seed, **seeds)[0]["samples"] for seed in (1, 2)]
    with torch.inference_mode():
        (plain,) = nodes.common_ksampler(demo[0], 1, 10, 7.0, "ddim", "normal", *prompts,
                                         {"samples": torch.zeros(2, 4, 8, 8)})
    apart = (plain["samples"][0] - plain["samples"][1]).norm()
    assert (ours[0] - ours[1]).norm() < 0.25 * apart


def test_micro_batches_change_nothing(small):
    first, *others = (average(*small, batch_size=size) for size in (1, 2, 5))
    for other in others:
        torch.testing.assert_close(other[0]["samples"], first[0]["samples"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(other[1], first[1], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("end", ["interrupt", "error"])
def test_goes_on_where_it_was_stopped(small, folders, end):
    model, prompts = small
    calls = Calls(model)
    whole = average(calls.model, prompts, batch_size=1)
    count, _ = calls.during(average, calls.model, prompts, batch_size=1, seed=3, resume=True)
    asked = count - calls.during(average, calls.model, prompts, batch_size=1, seed=3)[0]  # who the model is
    kept = set(saved_states(folders))
    with pytest.raises(calls.stop_when(lambda number: number >= asked + COUNT + 2, end)):
        average(calls.model, prompts, batch_size=1, resume=True)
    assert set(saved_states(folders)) - kept
    again, found = calls.during(average, calls.model, prompts, batch_size=1, resume=True)
    assert 0 < again < count
    assert torch.equal(found[0]["samples"], whole[0]["samples"]) and torch.equal(found[1], whole[1])
    once_more, kept = calls.during(average, calls.model, prompts, batch_size=1, resume=True)
    assert once_more < again and torch.equal(kept[0]["samples"], whole[0]["samples"])
    other, _ = calls.during(average, calls.model, prompts, batch_size=1, resume=True, guidance_share=0.4)
    assert other > once_more + COUNT, "another guidance is another run"


def test_the_error_of_the_mean_decides_how_many_noises_are_taken(small):
    report = average(*small, count=64, mean_error=0.9)[2]
    assert all(level.count == 16 and level.mean_error <= 0.9 for level in report.levels)
    assert [level.count for level in average(*small, count=20)[2].levels] == [20, 20]


def test_every_choice_shows_in_the_result(small):
    plain = average(*small)[0]["samples"]
    for change in (dict(guidance_share=1.0), dict(restored_noise=0.5), dict(seed=10), dict(count=6),
                   dict(averaged_steps=3), dict(cfg=3.0), dict(scheduler="karras")):
        assert not torch.allclose(average(*small, **change)[0]["samples"], plain, atol=1e-3), change


def test_variety_has_the_size_of_the_picture(small):
    _, variety, report = average(*small)
    assert variety.shape == (1, 64, 64, 3) and variety.min() >= 0 and variety.max() <= 1
    assert report.settings["averaged_guidance_scale"] == 1 + SHARE * (CFG - 1)
    assert report.settings["guidance_scale"] == CFG


def test_restored_noise_follows_guidance_unless_it_is_chosen(small):
    for cfg, noise in ((3.0, 1.0), (5.0, 0.75), (9.0, 0.5)):
        by_guidance, chosen = (average(*small, cfg=cfg, restored_noise=value) for value in (-1.0, noise))
        assert torch.equal(by_guidance[0]["samples"], chosen[0]["samples"])
        assert by_guidance[2].settings["restored_noise"] == noise


@pytest.mark.parametrize("change, match", [
    (dict(count=0), "count is 0"), (dict(averaged_steps=0), "averaged_steps is 0"),
    (dict(averaged_steps=7), "lower averaged_steps or raise steps"), (dict(guidance_share=1.5), "guidance_share"),
    (dict(guidance_share=float("nan")), "guidance_share"), (dict(restored_noise=-0.1), "restored_noise"),
    (dict(restored_noise=-1.5), "restored_noise"),
    (dict(mean_error=float("inf")), "mean_error")])
def test_bad_widgets_are_refused_before_any_work(small, change, match):
    model, prompts = small
    with pytest.raises(ValueError, match=match):
        average(untouched(model), prompts, **change)


def test_bad_inputs_are_refused_before_any_work(small):
    from mental_averages.nodes.mean_shift import MentalAverage

    model, (positive, negative) = small
    model = untouched(model)
    with pytest.raises(ValueError, match="connect one prompt at a time"):
        average(model, ([[torch.cat([positive[0][0]] * 2), {}]], negative))
    with pytest.raises(ValueError, match="negative conditioning is empty"):
        average(model, (positive, []))
    for latent, match in (({"samples": torch.zeros(1, 4, 8, 8), "noise_mask": torch.ones(1, 64, 64)}, "mask"),
                          ({"samples": torch.ones(1, 16, 8, 8)}, "16 channels"),
                          ({"samples": torch.zeros(1, 4, 3, 8, 8)}, "video")):
        with pytest.raises(ValueError, match=match):
            MentalAverage.execute(model, positive, latent, COUNT, STEPS, AVERAGED, CFG, "normal", SEED, negative)


@pytest.mark.parametrize("change, match", [
    (dict(start={"samples": torch.ones(1, 4, 8, 4)}), "asks for 8 x 8: connect start to latent_image"),
    (dict(start={"samples": torch.zeros(1, 4, 8, 8)}), "start is an empty latent"),
    (dict(start={"samples": torch.full((1, 4, 8, 8), float("nan"))}), "NaN"),
    (dict(start_weights="1 2"), "has 2 numbers, but start holds 1"), (dict(start_weights="one"), "start_weights"),
    (dict(start_weights="-1"), "none negative"), (dict(start_step=5), "from step 5 on"),
    (dict(start_step=-1), "start_step")])
def test_a_start_that_does_not_fit_is_refused_before_any_work(small, change, match):
    model, prompts = small
    with pytest.raises(ValueError, match=match):
        average(untouched(model), prompts, **{"start": {"samples": torch.ones(1, 4, 8, 8)}, **change})


def test_a_damaged_model_is_named(comfyui):
    model = MODELS["SD1.5"].build()
    with torch.inference_mode():
        next(model.model.diffusion_model.parameters())[0] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        average(model, (MODELS["SD1.5"].conditioning(1), MODELS["SD1.5"].conditioning(2)))


def test_without_a_negative_prompt_the_start_of_the_text_stands_for_the_empty_one(demo, bridge):
    positive, other = (pack.encode_prompt(demo[1], text) for text in ("red heart", "woman"))
    start = bridge.without_prompt(demo[0], positive)
    assert torch.equal(start[0][0], bridge.without_prompt(demo[0], other)[0][0]), "it knows nothing of the prompt"
    empty = pack.encode_prompt(demo[1], "")[0][0]
    assert torch.equal(start[0][0], empty[:, :1].expand_as(empty))
    left_out, given = (average(demo[0], (positive, negative))[0]["samples"] for negative in (None, start))
    assert torch.equal(left_out, given)


def test_other_models_get_zeros_as_core_makes_them(built, bridge):
    import nodes

    positive, model = MODELS["SDXL"].conditioning(1), built("SDXL")
    ours, (core,) = bridge.without_prompt(model, positive), nodes.ConditioningZeroOut().zero_out(positive)
    assert torch.equal(ours[0][0], core[0][0]) and not ours[0][0].any()
    assert torch.equal(ours[0][1]["pooled_output"], core[0][1]["pooled_output"])
    left_out, given = (average(model, (positive, negative))[0]["samples"] for negative in (None, core))
    assert torch.equal(left_out, given)
