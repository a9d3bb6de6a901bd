"""RecordPredictions in core's samplers and in the pack's own nodes: bit-identical, and right."""
import itertools

import pytest
import torch
from every_node import PREDICTING
from small_models import MODELS

STEPS, LAST, SEED, CFG = 8, 3, 3, 4.0
SHAPES = {"SD1.5": (4, 8, 8), "SDXL": (4, 8, 8), "SD3": (16, 8, 8), "Qwen-Image": (16, 8, 8)}
SAMPLERS = ["euler", "heun", "dpm_2", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_sde", "euler_ancestral", "lms", "uni_pc",
            "ddim", "dpm_fast", "dpm_adaptive", "lcm", "euler_cfg_pp", "res_multistep", "seeds_2", "er_sde",
            "sa_solver"]


def recording(model, last_steps=LAST):
    from mental_averages.nodes.metrics import RecordPredictions

    with torch.inference_mode():
        return RecordPredictions.execute(model, last_steps).args[0]


def texts(name="SD1.5"):
    return MODELS[name].conditioning(1), MODELS[name].conditioning(2)


def ksampler(model, prompts, shape=(4, 8, 8), count=2, sampler="euler", steps=STEPS, seed=SEED, cfg=CFG, **options):
    import nodes

    with torch.inference_mode():
        return nodes.common_ksampler(model, seed, steps, cfg, sampler, "normal", *prompts,
                                     {"samples": torch.zeros(count, *shape)}, **options)[0]["samples"]


def scores(bridge, latents):
    found = bridge.recorded(latents)
    return None if None in found else torch.tensor([each.score for each in found])


def by_hand(model, prompts, shape, count=2):
    """The variance of the last predictions in Euler steps on core's guider, in numpy."""
    import comfy.sample
    import comfy.samplers
    import numpy as np

    predictions = []

    class Sampler(comfy.samplers.Sampler):
        def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None,
                   disable_pbar=False):
            law = model_wrap.inner_model.model_sampling
            x = law.noise_scaling(sigmas[0], noise, latent_image, self.max_denoise(model_wrap, sigmas))
            for sigma, following in zip(sigmas[:-1], sigmas[1:]):
                clean = model_wrap(x, sigma.expand(count), **extra_args)
                predictions.append(clean.double().numpy())
                x = x + (following - sigma) * (x - clean) / sigma
            return law.inverse_noise_scaling(sigmas[-1], x)

    with torch.inference_mode():
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", STEPS)
        empty = comfy.sample.fix_empty_latent_channels(model, torch.zeros(count, *shape))
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(*prompts)
        guider.set_cfg(CFG)
        guider.sample(comfy.sample.prepare_noise(empty, SEED), empty, Sampler(), sigmas, seed=SEED)
    last = np.stack(predictions[-LAST:]).var(axis=0)
    return torch.from_numpy(last.reshape(count, -1).mean(1)).float()


@pytest.mark.parametrize("name", SHAPES)
def test_the_score_of_a_ksampler_is_the_equations(built, bridge, name):
    model, shape = built(name), SHAPES[name]
    plain, found = ksampler(model, texts(name), shape), ksampler(recording(model), texts(name), shape)
    assert torch.equal(plain, found)
    torch.testing.assert_close(scores(bridge, found), by_hand(model, texts(name), shape), rtol=1e-3, atol=1e-7)


# torchsde warns of rounding, and core of how it makes tensors, in some samplers.
@pytest.mark.filterwarnings("ignore:Should have:UserWarning", "ignore:To copy construct:UserWarning")
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_is_recorded_once_a_step_and_bit_identical(small, bridge, sampler):
    model, prompts = small
    patched, seed = recording(model), 1000 + SAMPLERS.index(sampler)  # ddim and euler end in the same latents
    plain = ksampler(model, prompts, sampler=sampler, seed=seed)
    assert scores(bridge, plain) is None
    found = ksampler(patched, prompts, sampler=sampler, seed=seed)
    assert torch.equal(plain, found)
    measured = scores(bridge, found)
    assert measured is not None and (measured > 0).all() and measured.isfinite().all()


def test_prompts_that_are_evaluated_apart_are_recorded_as_together(small, bridge, monkeypatch):
    """Core splits conditional and unconditional, and a batch, by memory."""
    import comfy.model_base

    model, prompts = small
    together = scores(bridge, ksampler(recording(model), prompts, seed=21))
    monkeypatch.setattr(comfy.model_base.BaseModel, "memory_required", lambda self, *args, **kwargs: 1e30)
    apart = scores(bridge, ksampler(recording(model), prompts, seed=21))
    torch.testing.assert_close(apart, together, rtol=1e-3, atol=1e-7)


def test_each_row_is_found_wherever_it_is(small, bridge):
    """Joined with rows of another run of the same patched MODEL, taken out, doubled, and in another order."""
    patched, prompts = recording(small[0]), small[1]
    first, second = (ksampler(patched, prompts, count=3, seed=seed) for seed in (31, 32))
    a, b = scores(bridge, first), scores(bridge, second)
    mixed = torch.cat([second[2:], first[:1], second[2:], first])
    assert torch.equal(scores(bridge, mixed), torch.cat([b[2:], a[:1], b[2:], a]))
    assert len({*a.tolist(), *b.tolist()}) == 6
    found = bridge.recorded(torch.cat([first[:1], first[1:2] + 1e-3]))
    assert found[0] is not None and found[1] is None
    single = ksampler(patched, prompts, count=1, seed=31)
    torch.testing.assert_close(scores(bridge, single), a[:1], rtol=1e-3, atol=1e-7)


def test_what_does_not_end_clean_or_is_too_short_is_not_recorded(small, bridge):
    model, prompts = small
    patched = recording(model)
    for options in (dict(last_step=5), dict(steps=2)):
        options = {"seed": 41, **options}
        found = ksampler(patched, prompts, **options)
        assert torch.equal(found, ksampler(model, prompts, **options)) and bridge.recorded(found) == [None, None]
    # A sampling in two parts ends with the second one, if that has as many steps.
    whole = ksampler(patched, prompts, seed=42)
    import nodes

    with torch.inference_mode():
        half = ksampler(patched, prompts, seed=42, last_step=4)
        found = nodes.common_ksampler(patched, 42, STEPS, CFG, "euler", "normal", *prompts, {"samples": half},
                                      disable_noise=True, start_step=4)[0]["samples"]
    torch.testing.assert_close(scores(bridge, found), scores(bridge, whole), rtol=1e-2, atol=1e-6)


def test_a_sampling_that_ends_in_nan_ends_as_without(small, bridge):
    def broken(model):
        model = model.clone()
        model.set_model_sampler_post_cfg_function(lambda arguments: arguments["denoised"] * torch.nan)
        return model

    found = ksampler(broken(recording(small[0])), small[1])
    assert found.isnan().all() and bridge.recorded(found) == [None, None]


def test_a_sampling_of_values_whose_squares_overflow_ends_as_without(small, bridge):
    def huge(model):
        model, signs = model.clone(), itertools.cycle([3e19, -3e19])
        model.set_model_sampler_post_cfg_function(lambda arguments: torch.full_like(arguments["denoised"], next(signs)))
        return model

    plain, found = (ksampler(huge(model), small[1], sampler="euler") for model in (small[0], recording(small[0])))
    assert torch.equal(plain, found) and found.isfinite().all() and bridge.recorded(found) == [None, None]


def test_an_interrupt_leaves_nothing_behind(small, bridge):
    model, prompts = small
    patched = recording(model)

    def stop(arguments):
        raise KeyboardInterrupt

    stopping = patched.clone()
    stopping.set_model_sampler_post_cfg_function(stop)
    with pytest.raises(KeyboardInterrupt):
        ksampler(stopping, prompts, seed=51)
    assert torch.equal(ksampler(patched, prompts, seed=51), ksampler(model, prompts, seed=51))


def test_the_last_of_two_recorders_counts_and_the_key_of_a_run_reads_it(small, bridge):
    model, prompts = small
    twice = recording(recording(model, 5), 2)
    found = bridge.recorded(ksampler(twice, prompts, seed=61))
    assert [len(each.levels) for each in found] == [2, 2]
    keys = [bridge.run_key(each, "a", {}, {}) for each in (model, recording(model, 2), recording(model, 3), twice)]
    assert len(set(keys)) == 3 and keys[1] == keys[3]
    assert not model.wrappers


@pytest.mark.parametrize("name", [each for each in PREDICTING if each not in ("DDIMInvert", "MGD3Prototype")])
def test_the_packs_own_nodes_are_recorded(small, bridge, name):
    """And give the same as without. What a deterministic node samples has the score of a KSampler's Euler steps."""
    model, prompts = small
    patched = recording(model, 2)
    with torch.inference_mode():
        plain, found = (PREDICTING[name](each, prompts) for each in (model, patched))
    assert torch.equal(plain, found)
    measured = scores(bridge, found)
    assert measured is not None and (measured > 0).all()


@pytest.mark.parametrize("name", SHAPES)
def test_plain_samples_of_our_loops_have_the_score_of_a_ksampler(built, bridge, name):
    """In batches of one, on models of every law."""
    from mental_averages.dma.diffusion import draw_samples
    from mental_averages.dma.execution import BatchSize

    model, shape, prompts = built(name), SHAPES[name], texts(name)
    patched = recording(model)
    usual = ksampler(patched, prompts, shape, count=3)
    expected = scores(bridge, usual)
    sigmas = bridge.sigmas_of(model, "normal", STEPS)
    latents = bridge.with_denoiser(patched, *prompts, CFG, sigmas, shape, SEED, lambda denoiser: draw_samples(
        denoiser, sigmas, shape, 3, SEED, batch=BatchSize(1)), layer=None, gradients=False)
    samples = bridge.latents_out_of_model(model, latents)["samples"]
    found = scores(bridge, samples)
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-6)
    (kind,) = {each.kind for each in bridge.recorded(torch.cat([samples, usual]))}
    assert (kind.guidance, kind.sampler, kind.steps) == (CFG, "euler", STEPS)
    assert kind.start == bridge.rounded_level(sigmas[0].item())


def test_what_tells_samplings_apart(small, bridge):
    """And not which of a model's patches are in its weights just now, or the seed, or how many are drawn."""
    import dataclasses

    from patched_models import lora

    model, prompts = small
    usual = bridge.recorded(ksampler(recording(model), prompts, seed=71))[0].kind
    others = {
        "": ksampler(recording(model), prompts, seed=72, count=1),
        "guidance": ksampler(recording(model), prompts, seed=73, cfg=2.0),
        "sampler": ksampler(recording(model), prompts, seed=74, sampler="dpmpp_2m"),
        "prompts": ksampler(recording(model), prompts[::-1], seed=75),
        "steps": ksampler(recording(model), prompts, seed=76, steps=STEPS + 1),
        "model": ksampler(recording(lora(model)), prompts, seed=77),
        " ": ksampler(recording(model), prompts, seed=78)}
    for name, latents in others.items():
        other = bridge.recorded(latents)[0].kind
        differing = {field.name for field in dataclasses.fields(other)
                     if getattr(other, field.name) != getattr(usual, field.name)}
        assert differing == ({name} if name.strip() else set())


def test_averages_are_recorded(small, bridge):
    from alignments import align

    from mental_averages.nodes.mean_shift import MentalAverage

    model, prompts = small
    patched = recording(model)
    with torch.inference_mode():
        found = [MentalAverage.execute(each, prompts[0], {"samples": torch.zeros(1, 4, 8, 8)}, 4, 8, 2, CFG, "normal",
                                       0, prompts[1], resume=False).args[0]["samples"] for each in (model, patched)]
    assert torch.equal(*found) and scores(bridge, found[1]) is not None
    aligned = [align(each, prompts) for each in (model, patched)]
    assert torch.equal(*aligned) and len(scores(bridge, aligned[1])) == 3
    # Gradients change how a model is held, and not what it is: samples of a KSampler are like references.
    for ours, usual in ((found[1], ksampler(patched, prompts, seed=81)),
                        (aligned[1], ksampler(patched, prompts, steps=6, cfg=3.0, seed=82))):
        assert {each.kind for each in bridge.recorded(ours)} == {each.kind for each in bridge.recorded(usual)}


@pytest.mark.parametrize("aligned_steps, keep, last", [(6, 1, 3), (5, 2, 3), (4, 1, 4)])
def test_what_is_aligned_to_its_last_steps_is_recorded(small, bridge, aligned_steps, keep, last):
    """After the last of them only what is returned goes on."""
    from alignments import align

    found = align(recording(small[0], last), small[1], aligned_steps=aligned_steps, keep=keep, iterations=1)
    measured = scores(bridge, found)
    assert len(found) == keep and measured is not None and (measured > 0).all()


def test_our_sampler_on_the_page_is_recorded(built, bridge):
    import comfy_extras.nodes_custom_sampler as core
    from inversions import method

    from mental_averages.nodes.inversion import DDIMSamplerSelect

    for name in ("SD1.5", "SD3"):
        model, shape = built(name), SHAPES[name]
        patched, levels = recording(model), bridge.sigmas_of(model, "simple", 6)
        with torch.inference_mode():
            samplers = (core.KSamplerSelect.execute("euler").args[0],
                        DDIMSamplerSelect.execute(method("ddim")).args[0])
            expected, found = (core.SamplerCustomAdvanced.execute(
                core.RandomNoise.execute(7).args[0], core.BasicGuider.execute(patched, texts(name)[0]).args[0], sampler,
                levels, {"samples": torch.zeros(2, *shape)}).args[0]["samples"] for sampler in samplers)
        torch.testing.assert_close(scores(bridge, found), scores(bridge, expected), rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("name, way", [("ddim", "euler"), ("fixed_point", "euler"), ("exact", "exact"),
                                       ("dpm_encoder", "dpm_encoder"), ("midpoint", "midpoint")])
def test_a_way_back_is_recorded_as_what_its_steps_are(small, bridge, name, way):
    """Others than Euler's have other predictions, so that their scores are not to be held against Euler's."""
    from inversions import invert, pictures, sample

    model, prompts = small
    noise, trajectory, _ = invert(model, prompts, pictures(), name, measure=False)
    found = sample(recording(model), prompts, noise, trajectory=trajectory)["samples"]
    assert {each.kind.sampler for each in bridge.recorded(found)} == {way}


def test_half_precision(built, bridge):
    model = MODELS["SD1.5"].build(dtype=torch.float16, manual_cast=torch.float32)
    half = recording(model)
    found = ksampler(half, texts())
    assert torch.equal(found, ksampler(model, texts())) and scores(bridge, found).isfinite().all()


@pytest.mark.parametrize("value", [1, 0, 1001, 2.5, None])
def test_bad_inputs_are_refused(small, value):
    with pytest.raises(ValueError, match="last_steps"):
        recording(small[0], value)
