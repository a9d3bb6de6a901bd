"""TypicalityGuidance in core's samplers and the pack's own nodes, against the equations on core's guider."""
import pytest
import torch
from alignments import align
from inversions import invert, method, sample as sample_back
from small_models import MODELS
from stopping import untouched

STEPS, SEED, CFG = 5, 3, 4.0
SIZES = {"SD1.5": (4, 8, 8), "SD2.x": (4, 8, 8), "SDXL": (4, 8, 8), "SD3": (16, 8, 8), "Qwen-Image": (16, 8, 8)}


def prompts(name="SD1.5"):
    return MODELS[name].conditioning(1), MODELS[name].conditioning(2)


def latent(shape=(4, 8, 8), seed=5):
    """A LATENT as MentalAverage gives it."""
    return {"samples": torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))}


def patched(model, average=None, strength=0.5, start=0.0, end=0.4, second=None):
    from mental_averages.nodes.steering import TypicalityGuidance

    with torch.inference_mode():
        return TypicalityGuidance.execute(model, average or latent(), strength, start, end, second).args[0]


def ksampler(model, texts, shape=(4, 8, 8), count=3, sampler="euler", scheduler="normal", steps=STEPS):
    import nodes

    with torch.inference_mode():
        (found,) = nodes.common_ksampler(model, SEED, steps, CFG, sampler, scheduler, *texts,
                                         {"samples": torch.zeros(count, *shape)})
    return found["samples"]


def by_hand(model, texts, push, count=3, shape=(4, 8, 8)):
    """Euler steps on core's guider whose predictions go through push(step, x0)."""
    import comfy.samplers

    class Sampler(comfy.samplers.Sampler):
        def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None,
                   disable_pbar=False):
            law = model_wrap.inner_model.model_sampling
            x = law.noise_scaling(sigmas[0], noise, latent_image, self.max_denoise(model_wrap, sigmas))
            for step, (sigma, following) in enumerate(zip(sigmas[:-1], sigmas[1:])):
                clean = push(step, model_wrap(x, sigma.expand(count), **extra_args))
                x = x + (following - sigma) * (x - clean) / sigma
            return law.inverse_noise_scaling(sigmas[-1], x)

    with torch.inference_mode():
        import comfy.sample

        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", STEPS)
        empty = comfy.sample.fix_empty_latent_channels(model, torch.zeros(count, *shape))
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(*texts)
        guider.set_cfg(CFG)
        return guider.sample(comfy.sample.prepare_noise(empty, SEED), empty, Sampler(), sigmas, seed=SEED)


@pytest.mark.parametrize("name", SIZES)
def test_equals_the_equations_on_cores_guider(built, name):
    """With an average and with the way between two, in the first part of the steps and in a part in the middle."""
    model, shape = built(name), SIZES[name]
    average, second = latent(shape), latent(shape, 6)
    first, other = (model.model.process_latent_in(found["samples"]) for found in (average, second))
    if model.model.latent_format.latent_dimensions == 3:
        first, other = (model.model.process_latent_in(found["samples"].unsqueeze(2)) for found in (average, second))
    for steps, start, end in (((0, 1), 0.0, 0.4), ((2,), 0.3, 0.6)):
        for to, change in ((None, lambda clean: 0.5 * (clean - first)), (second, lambda clean: 0.5 * (other - first))):
            expected = by_hand(model, prompts(name), lambda step, clean, steps=steps, change=change:
                               clean + change(clean) if step in steps else clean, shape=shape)
            found = ksampler(patched(model, average, 0.5, start, end, to), prompts(name), shape)
            torch.testing.assert_close(found.view(expected.shape), expected, rtol=1e-3, atol=1e-3)
            assert (found - ksampler(model, prompts(name), shape)).abs().max() > 0.05


def test_strength_0_is_the_model_to_the_last_bit(small, bridge):
    model, texts = small
    same = patched(model, strength=0.0)
    assert torch.equal(ksampler(same, texts), ksampler(model, texts)) and same is not model
    assert bridge.run_key(same, "a", {}, {}) == bridge.run_key(model, "a", {}, {})
    with_other = patched(patched(model, strength=0.3), strength=0.0)
    assert torch.equal(ksampler(with_other, texts), ksampler(patched(model, strength=0.3), texts))


@pytest.mark.parametrize("scheduler", ["ddim_uniform", "normal"])
def test_the_first_8_of_20_steps_are_pushed_unless_another_range_is_chosen(small, scheduler):
    from mental_averages.nodes.steering import TypicalityGuidance

    model, texts = small
    end, = (item.default for item in TypicalityGuidance.define_schema().inputs if item.id == "end_percent")
    changed = []
    steered = patched(model, end=end)
    (push,) = steered.model_options["sampler_post_cfg_function"]
    steered = model.clone()
    steered.set_model_sampler_post_cfg_function(
        lambda arguments: changed.append(push(arguments) is not arguments["denoised"]) or arguments["denoised"])
    ksampler(steered, texts, scheduler=scheduler, steps=20)
    assert changed == [True] * 8 + [False] * 12


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m", "ddim", "lms", "euler_ancestral", "euler_cfg_pp"])
@pytest.mark.parametrize("name", ["SD1.5", "SD3"])
def test_minus_1_gives_the_average_with_every_sampler(built, name, sampler):
    """Where every prediction is the average, it is what sampling ends in, whatever the sampler."""
    shape = SIZES[name]
    average = latent(shape)
    found = ksampler(patched(built(name), average, -1.0, 0.0, 1.0), prompts(name), shape, sampler=sampler)
    torch.testing.assert_close(found, average["samples"].expand(3, *shape), rtol=1e-3, atol=1e-3)


def test_minus_1_gives_the_average_in_the_packs_own_nodes(small):
    from mental_averages.nodes.baselines import ZeroLatent
    from mental_averages.nodes.mean_shift import MentalAverage

    model, texts = small
    average, empty = latent(), {"samples": torch.zeros(1, 4, 8, 8)}
    pushed = patched(model, average, -1.0, 0.0, 1.0)
    with torch.inference_mode():
        shifted = MentalAverage.execute(pushed, texts[0], empty, 3, 4, 2, CFG, "normal", 0, texts[1],
                                        restored_noise=0.0, resume=False).args[0]
        zero = ZeroLatent.execute(pushed, *texts, empty, 4, CFG, "normal", 0.5, 0).args[0]
    back = sample_back(pushed, texts, latent(seed=8))
    for found in (shifted["samples"], zero["samples"], back["samples"], align(pushed, texts)):
        torch.testing.assert_close(found, average["samples"].expand_as(found), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["SD1.5", "Qwen-Image"])
def test_samplers_of_the_page_take_it(built, name):
    """Core's SamplerCustomAdvanced with its own sampler and with ours."""
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes import comfyui
    from mental_averages.nodes.inversion import DDIMSamplerSelect

    model, shape = built(name), SIZES[name]
    pushed = patched(model, latent(shape))
    levels = comfyui.sigmas_of(model, "simple", 6)
    with torch.inference_mode():
        noise = core.RandomNoise.execute(3).args[0]
        euler, ours = core.KSamplerSelect.execute("euler").args[0], DDIMSamplerSelect.execute(method("ddim")).args[0]
        plain, expected, found = (core.SamplerCustomAdvanced.execute(
            noise, core.BasicGuider.execute(each, prompts(name)[0]).args[0], sampler, levels,
            {"samples": torch.zeros(2, *shape)}).args[0]["samples"]
            for each, sampler in ((model, euler), (pushed, euler), (pushed, ours)))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert (expected - plain).abs().max() > 0.05


def test_a_batch_is_pushed_as_each_of_its_latents_alone(small):
    import comfy.sample

    model, texts = small
    pushed, z = patched(model), torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together, *alone = (comfy.sample.sample(pushed, rows, STEPS, CFG, "euler", "normal", *texts,
                                                torch.zeros_like(rows)) for rows in (z, *z.split(1)))
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-3, atol=1e-3)


def test_patches_chain_in_the_order_of_their_nodes(small):
    model, texts = small

    def halved(model):
        model = model.clone()
        model.set_model_sampler_post_cfg_function(lambda arguments: arguments["denoised"] / 2)
        return model

    average = model.model.process_latent_in(latent()["samples"])

    def pushed(clean):
        return clean + 0.5 * (clean - average)

    for steered, expected in ((halved(patched(model, end=1.0)), lambda clean: pushed(clean) / 2),
                              (patched(halved(model), end=1.0), lambda clean: pushed(clean / 2)),
                              (patched(patched(model, end=1.0), end=1.0), lambda clean: pushed(pushed(clean)))):
        torch.testing.assert_close(ksampler(steered, texts),
                                   by_hand(model, texts, lambda step, clean, expected=expected: expected(clean)),
                                   rtol=1e-3, atol=1e-3)
    assert len(model.model_options.get("sampler_post_cfg_function", [])) == 0


def test_it_stands_beside_cores_own_patches(demo, prompts):
    """With guidance rescaled, layers skipped, and a LoRA-like change of weights, its effect is still there."""
    from comfy_extras.nodes_freelunch import FreeU_V2
    from comfy_extras.nodes_model_advanced import RescaleCFG

    for change in (lambda model: RescaleCFG().patch(model, 0.7)[0],
                   lambda model: FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2).args[0]):
        model = change(demo[0])
        plain, ours, other = (ksampler(each, prompts) for each in (model, patched(model), change(patched(demo[0]))))
        assert (ours - plain).abs().max() > 0.05
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["EasyCache", "LazyCache"])
def test_caches_of_steps(small, kind):
    """That reuse nothing change nothing, and that reuse steps leave the push where it is."""
    import comfy_extras.nodes_easycache as core

    model, texts = small
    node = getattr(core, f"{kind}Node")
    never, often = (lambda model, threshold=threshold: node.execute(model, threshold, 0.15, 0.95, False).args[0]
                    for threshold in (0.0, 0.5))
    assert torch.equal(ksampler(never(patched(model)), texts), ksampler(patched(model), texts))
    for steered in (often(patched(model)), patched(often(model))):
        found = ksampler(steered, texts)
        assert found.isfinite().all() and (found - ksampler(often(model), texts)).abs().max() > 0.05


def test_features_and_trainings_are_those_without_it(small, bridge):
    """Core asks a patch after guidance for predictions of a sampling alone, which is what tooltip and page say."""
    from mental_averages.nodes.steering import TypicalityGuidance

    model, texts = small
    x, level = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2)), 9.0

    def asked(model):
        def ask(denoiser):
            return (denoiser.denoise(x, level), denoiser.features(x, level),
                    denoiser.denoise_differentiably(x, torch.full((2,), level)))

        return bridge.with_denoiser(model, *texts, CFG, bridge.sigmas_of(model, "normal", STEPS), (4, 8, 8), SEED, ask)

    plain, pushed = asked(model), asked(patched(model, end=1.0))
    assert [torch.equal(*pair) for pair in zip(plain, pushed)] == [False, True, True]
    (output,) = TypicalityGuidance.define_schema().outputs
    assert "trainings, and features" in output.tooltip


def test_a_schedule_changed_behind_it_is_the_one_it_follows(built):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    model, texts, shape = built("SD3"), prompts("SD3"), SIZES["SD3"]

    def shifted(model):
        return ModelSamplingSD3().patch(model, 6.0)[0]

    behind, before = (ksampler(each, texts, shape) for each in (shifted(patched(model, latent(shape))),
                                                                patched(shifted(model), latent(shape))))
    assert torch.equal(behind, before)


@pytest.mark.parametrize("shift", [1.58, 2.66, 8.47])
def test_the_first_step_of_a_shifted_schedule_is_pushed(built, shift):
    """Its noise level is a rounding above what core calls the start."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    model, shape, changed = ModelSamplingSD3().patch(built("SD3"), shift)[0], SIZES["SD3"], []
    law = model.get_model_object("model_sampling")
    assert law.sigmas[-1].item() > law.percent_to_sigma(0.0)
    (push,) = patched(model, latent(shape), end=1.0).model_options["sampler_post_cfg_function"]
    model.set_model_sampler_post_cfg_function(
        lambda arguments: changed.append(push(arguments) is not arguments["denoised"]) or arguments["denoised"])
    ksampler(model, prompts("SD3"), shape, scheduler="simple")
    assert changed == [True] * STEPS


class Law:
    """A schedule that counts how often it is asked."""

    def __init__(self, highest=10.0):
        self.highest, self.asked = highest, 0

    def percent_to_sigma(self, percent):
        self.asked += 1
        return self.highest * (1 - percent)


def pushing(push, law, dtype=torch.float16, device="cpu"):
    """What a push makes of ones at noise level 9, and the names of all operations that it takes."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            taken.append(function.overloadpacket.__name__)
            return function(*arguments, **(keywords or {}))

    taken, ones = [], torch.ones(2, 4, 8, 8, dtype=dtype, device=device)
    owner = type("Model", (), {"model_sampling": law})()
    with Names():
        found = push(dict(denoised=ones, sigma=torch.tensor([9.0]), model=owner))
    return found, taken


def test_what_does_not_change_within_a_sampling_is_read_once(bridge):
    push, law = bridge.Push(torch.full((1, 4, 8, 8), 3.0), False, 0.5, 0.05, 0.4), Law()
    first, *steps = (pushing(push, law)[1] for _ in range(4))
    assert law.asked == 2 and "_to_copy" in first
    for step in steps:
        assert not {"_to_copy", "isfinite", "all", "abs", "ne", "eq"} & set(step)
    # Another schedule, type or device is another matter, and what was there before is still right.
    for law, dtype, expected in ((Law(100.0), torch.float16, 1), (Law(), torch.float32, 0), (Law(), torch.float64, 0)):
        found = pushing(push, law, dtype)[0]
        assert found.dtype == dtype and (found == expected).all()
    assert pushing(push, Law(), device="meta")[0].device.type == "meta" and (pushing(push, Law())[0] == 0).all()


def test_nothing_is_left_of_a_sampling(small):
    """A model that is cloned, or whose schedule is changed where it lies, finds nothing of the sampling before."""
    model, texts = small
    steered = patched(model)
    (push,) = steered.model_options["sampler_post_cfg_function"]
    found = ksampler(steered, texts)
    assert not push.placed and not push.ranges
    assert torch.equal(ksampler(steered.clone(), texts), found)
    law, noise = Law(), torch.zeros(2, 4, 8, 8)

    def sampled(noise):
        return pushing(push, law)[0]

    before = push.before_sampling(sampled, noise)
    law.highest = 100.0  # 9 lies behind the range from here on
    after = push.before_sampling(sampled, noise)
    assert (after == 1).all() and not (before == 1).all()
    with pytest.raises(ZeroDivisionError):
        push.before_sampling(lambda noise: (sampled(noise), 1 / 0), noise)
    assert not push.placed and not push.ranges


def test_gradients_go_through_it(small):
    pushed = patched(small[0], strength=0.2, end=1.0)
    noise, trajectory, _ = invert(pushed, small[1], latent(), "null_text", cfg=3.0, steps=3)
    assert noise["samples"].isfinite().all() and len(trajectory.trajectory.latents) == 3


def test_what_it_is_made_of_is_in_the_keys_of_runs(small, bridge):
    model, texts = small

    def key(**change):
        steered = patched(model, **change)
        made = bridge.run_key(steered, "a", {}, {})
        ksampler(steered, texts, steps=2)
        assert bridge.run_key(steered, "a", {}, {}) == made, "a run changes no key"
        return made

    nearly = latent()
    nearly["samples"][0, 3, 7, 7] += 1e-3
    changes = [{}, dict(strength=0.51), dict(average=nearly), dict(average=latent(seed=6)), dict(start=0.1),
               dict(end=0.5), dict(second=latent(seed=6)), dict(second=latent(seed=7))]
    found, again = ([key(**change) for change in changes] for _ in range(2))
    assert found == again and len({bridge.run_key(model, "a", {}, {}), *found}) == len(found) + 1


def test_another_strength_is_another_run(small, folders):
    from mental_averages.nodes.mean_shift import MentalAverage

    def average(strength):
        with torch.inference_mode():
            return MentalAverage.execute(patched(small[0], strength=strength), small[1][0],
                                         {"samples": torch.zeros(1, 4, 8, 8)}, 3, 4, 2, CFG, "normal", 0, small[1][1],
                                         restored_noise=0.0, resume=True).args[0]["samples"]

    first, other, again = (average(strength) for strength in (0.3, 0.6, 0.3))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("change, complaint", [
    (dict(average=latent((16, 8, 8))), "average has 16 channels, but the latents of this model have 4"),
    (dict(average={"samples": torch.ones(3, 4, 8, 8)}), "average holds 3 latents"),
    (dict(average={"samples": torch.zeros(1, 4, 8, 8)}), "average is an empty latent"),
    (dict(average={"samples": torch.full((1, 4, 8, 8), torch.nan)}), "The input average contains NaN"),
    (dict(average={"samples": torch.ones(1, 4, 3, 8, 8)}), "The input average is a video"),
    (dict(average={**latent(), "noise_mask": torch.ones(1, 64, 64)}), "inpainting mask"),
    (dict(second=latent((4, 8, 4))), "8 x 8 pixels, but second one of 4 channels and 4 x 8"),
    (dict(second=latent((16, 8, 8))), "second has 16 channels"), (dict(second=latent()), "the same latent"),
    (dict(start=0.4), "end_percent above start_percent"), (dict(start=0.9, end=0.1), "nothing would be pushed"),
    (dict(strength=float("nan")), "strength"), (dict(strength=11.0), "strength"), (dict(end=1.5), "end_percent")])
def test_bad_inputs_are_refused_at_once(small, change, complaint):
    with pytest.raises(ValueError, match=complaint):
        patched(small[0], **change)


def test_another_size_is_refused_before_the_model_is_asked(small):
    from mental_averages.nodes.mean_shift import MentalAverage

    model, texts = untouched(small[0]), small[1]
    pushed = patched(model)
    complaint = "latent of 4 channels and 8 x 8 pixels, but latents of 4 channels and 4 x 6 .* connect one latent_image"
    with pytest.raises(ValueError, match=complaint):
        ksampler(pushed, texts, (4, 6, 4))
    with torch.inference_mode(), pytest.raises(ValueError, match=complaint):
        MentalAverage.execute(pushed, texts[0], {"samples": torch.zeros(1, 4, 6, 4)}, 3, 4, 2, CFG, "normal", 0,
                              texts[1])


def test_a_video_is_refused(built):
    shape = SIZES["Qwen-Image"]
    with pytest.raises(ValueError, match="pushes pictures"):
        ksampler(patched(built("Qwen-Image"), latent(shape)), prompts("Qwen-Image"), (16, 3, 8, 8))
