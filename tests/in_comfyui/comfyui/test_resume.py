"""Saved states are found again by the same model, and by no other."""
import pytest
import torch
from alignments import run_align
from controls import controlled
from core_predictions import prompts, with_option
from patched_models import lora
from small_models import MODELS
from stopping import Calls, saved_states

import pack

CHANGE = dict(resume=True, count=2, keep=1, iterations=1, steps=12, aligned_steps=0, batch_size=2)


@pytest.fixture(scope="module")
def transformer(comfyui):
    """(MODEL, (positive, negative)) of the demo transformer."""
    model, clip, _ = pack.load_checkpoint(pack.demo_transformer())
    return model, (pack.encode_prompt(clip, "red heart"), pack.encode_prompt(clip, ""))


def skipping(model, scale, start=0.01, end=0.15):
    from comfy_extras.nodes_slg import SkipLayerGuidanceDiT

    return SkipLayerGuidanceDiT.execute(model, scale, start, end, "1, 2", "").args[0]


def hspace_of(model):
    from mental_averages.nodes.hspace import HSpaceHook

    return HSpaceHook.execute(model, "auto", "none").args[0]


def aligned(model, conditionings, **change):
    channels = model.model.latent_format.latent_channels
    return run_align(hspace_of(model), conditionings, {"samples": torch.zeros(1, channels, 8, 8)},
                     **{**CHANGE, **change})[0]["samples"]


def test_a_patch_of_part_of_the_schedule_starts_anew_and_the_first_model_is_found_again(transformer, folders):
    """SkipLayerGuidanceDiT acts between two noise levels that a question at the first one and half way misses."""
    model, conditionings = transformer
    weak, strong = (skipping(model, scale) for scale in (3.0, 8.0))
    calls = Calls(weak)
    whole, expected = calls.during(aligned, calls.model, conditionings, resume=False)
    other = aligned(strong, conditionings, resume=False)
    assert (expected - other).norm() > 0.01 * expected.norm()
    first, found = calls.during(aligned, calls.model, conditionings)
    assert torch.equal(found, expected) and torch.equal(aligned(strong, conditionings), other)
    # Back to the first model: it is asked who it is, nothing is worked out, and the answer is the first one's.
    again, found = calls.during(aligned, calls.model, conditionings)
    assert torch.equal(found, expected) and len(saved_states(folders)) == 2
    assert again == first - whole


class OneStep:
    """A patch with nothing that could be read of it, which acts at one noise level."""

    def __init__(self, level, strength):
        self.hidden = (level, strength)

    def __call__(self, arguments):
        level, strength = self.hidden
        close = abs(arguments["sigma"][0].item() - level) < 1e-3 * level
        return arguments["denoised"] * (1 + strength * close)


def test_a_patch_of_any_single_step_is_seen(bridge, small, folders):
    model, conditionings = small
    sigmas = bridge.sigmas_of(model, "normal", 6)

    def patched(step, strength):
        other = model.clone()
        other.set_model_sampler_post_cfg_function(OneStep(sigmas[step].item(), strength))
        return other

    for step in range(6):
        for strength in (0.0, 0.01):
            aligned(patched(step, strength), conditionings, steps=6)
    assert len(saved_states(folders)) == 1 + 6, "the plain model, and one for each step"


@pytest.mark.parametrize("change", ["hint", "strength", "start_percent", "end_percent"])
def test_another_controlnet_starts_anew(unet, folders, change):
    def steered(changed):
        positive = controlled(prompts()[0], strength=0.8)
        control = positive[0][1]["control"]
        if changed:
            if change == "hint":
                control.cond_hint_original = 1 - control.cond_hint_original
            elif change == "strength":
                control.strength = 0.81
            else:
                control.timestep_percent_range = (0.02, 1.0) if change == "start_percent" else (0.0, 0.98)
        return positive, prompts()[1]

    expected = [aligned(unet, steered(changed), resume=False, steps=3) for changed in (False, True)]
    for changed in (False, True, False):
        assert torch.equal(aligned(unet, steered(changed), steps=3), expected[changed])
    assert len(saved_states(folders)) == 2


def test_loras_do_not_overwrite_each_other(unet, folders):
    models = [unet, lora(unet), lora(unet, strength=0.5)]
    found = [aligned(model, prompts(), steps=4) for model in models]
    assert len(saved_states(folders)) == 3
    for model, expected in zip(models, found):
        calls = Calls(model)
        asked, again = calls.during(aligned, calls.model, prompts(), steps=4)
        assert torch.equal(again, expected) and asked == 2 * 4, "who it is, with two prompts at each of the levels"


@pytest.mark.parametrize("module, name", [("alignment", "ALGORITHM")])
def test_another_version_of_the_algorithm_starts_anew(unet, folders, monkeypatch, module, name):
    from mental_averages.dma import alignment

    few = dict(steps=3, aligned_steps=1)
    aligned(unet, prompts(), **few)
    monkeypatch.setattr(alignment, name, "alignment of another version")
    aligned(unet, prompts(), **few)
    assert len(saved_states(folders)) == 2


def test_in_half_precision_near_checkpoints_do_not_share_a_state(comfyui, folders):
    """A merge of 1 % predicts the same as the first model up to rounding, and is another model."""
    models = [MODELS["SD1.5"].build(torch.bfloat16) for _ in range(3)]
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        for value in models[2].model.diffusion_model.parameters():
            value.lerp_(value.std(correction=0) * torch.randn(value.shape, generator=generator).to(value), 0.01)
    few = dict(steps=3, aligned_steps=0)
    first, again, near = (aligned(model, prompts(), **few) for model in models)
    assert len(saved_states(folders)) == 2 and torch.equal(first, again)
    assert torch.equal(near, aligned(models[2], prompts(), resume=False, **few)) and not torch.equal(near, first)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_a_state_is_found_whatever_memory_is_free(bridge, folders, monkeypatch, dtype):
    """With much free memory core evaluates both prompts in one pass, with little in two; the results differ."""
    import comfy.model_patcher

    model = MODELS["SD1.5"].build(torch.float32, manual_cast=dtype)
    conditionings, few = prompts(), dict(steps=4, aligned_steps=0, cfg=7.0)
    answers = {}
    for free in (2**40, 0):
        monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "get_free_memory", lambda *_, free=free: free)
        run = bridge.with_denoiser(model, *conditionings, 7.0, torch.tensor([5.0, 0.0]), (4, 8, 8), 0,
                                   lambda denoiser: bridge.saved_run("key", denoiser, [5.0, 1.0], (4, 8, 8), [5.0]))
        answers[free] = run.fingerprint
        assert run.tolerance == 4 * torch.finfo(dtype).eps
        aligned(model, conditionings, **few)
    assert torch.equal(*answers.values())
    assert len(saved_states(folders)) == 1


@pytest.mark.parametrize("computing", [torch.bfloat16, torch.float32])
def test_a_model_with_a_lora_is_found_again_loaded_whole_or_in_part(bridge, folders, computing):
    """Loaded whole core rounds the changed weights to the precision that they are stored in, in part it does not."""
    from comfy.patcher_extension import WrappersMP

    from mental_averages.dma.execution import distance_of_answers

    changed = lora(MODELS["SD1.5"].build(torch.bfloat16, manual_cast=computing), 0.1)
    found = []
    for in_part in (False, True):
        model = changed.clone()
        if in_part:
            model.add_wrapper(WrappersMP.PREPARE_SAMPLING, loaded_in_part)
        found.append(bridge.with_denoiser(model, *prompts(), 4.0, torch.tensor([5.0, 0.0]), (4, 8, 8), 0,
                                          lambda denoiser: bridge.saved_run("key", denoiser, [5.0, 1.0], (4, 8, 8))))
    distance = distance_of_answers(found[0].fingerprint, found[1].fingerprint)
    assert distance > 1e-4 and distance < found[1].tolerance == pytest.approx(0.1)
    found[0].save({"done": torch.ones(1)}, {})
    assert found[1].load() is not None


def loaded_in_part(executor, patcher, *arguments, **options):
    """Around the preparation of a sampling: all weights are cast and changed at each layer."""
    result = executor(patcher, *arguments, **options)
    patcher.load(patcher.load_device, lowvram_model_memory=1)
    assert patcher.model.model_lowvram
    return result


def test_the_question_is_answered_as_a_plain_prediction_is(bridge, unet):
    """Asked one prompt at a time, in single precision, the model says the same."""
    from mental_averages.dma.models import fingerprint

    def both(denoiser):
        return (bridge.saved_run("key", denoiser, [5.0, 1.0], (4, 6, 4), [5.0]).fingerprint,
                fingerprint(denoiser, [5.0, 1.0], (4, 6, 4), features_at=[5.0]))

    for positive in (prompts()[0], prompts()[0] + with_option(prompts()[1], strength=0.5)):
        ours, plain = bridge.with_denoiser(unet, positive, prompts()[1], 4.0, torch.tensor([5.0, 0.0]), (4, 6, 4), 0,
                                           both, "auto")
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_a_disk_that_refuses_everything_changes_no_result(unet, folders, monkeypatch):
    import errno
    import os
    from pathlib import Path

    few = dict(steps=3, aligned_steps=1)
    expected = aligned(unet, prompts(), resume=False, **few)
    aligned(unet, prompts(), **few)
    state, = (folders / "user" / "mental_averages" / "runs").iterdir()
    state.write_bytes(state.read_bytes()[:100])  # damaged, and not to be removed
    (state.parent / "old.safetensors").write_bytes(b"old")
    os.utime(state.parent / "old.safetensors", (0, 0))

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    for owner, name in ((Path, "unlink"), (Path, "mkdir"), (os, "replace"), (os, "utime")):
        monkeypatch.setattr(owner, name, refuse)
    assert torch.equal(aligned(unet, prompts(), **few), expected)
