"""AlignTrajectories: on the demo model and on small ones, inside inference mode as ComfyUI runs it."""
import dataclasses
import logging

import pytest
import torch
from alignments import NUMBERS, align, execute, gathered, run_align
from stopping import Calls, saved_states

import pack
from mental_averages.dma.alignment import PRESETS


def test_aligned_latents_agree_and_plain_ones_do_not(hspace, prompts, empty_latent):
    latent, report = run_align(hspace, prompts, empty_latent, iterations=50)
    plain, _ = run_align(hspace, prompts, empty_latent, aligned_steps=0)
    apart = lambda samples: (samples[0] - samples[1]).norm().item()  # noqa: E731
    assert latent["samples"].shape == (2, 4, 8, 8) and latent["samples"].dtype == torch.float32
    assert apart(latent["samples"]) < 0.6 * apart(plain["samples"])
    for step in report.steps:
        assert all(after <= before for before, after in zip(step.residual_before, step.residual_after))
    assert report.steps[0].spread < 0.8 * report.initial_spread
    assert report.steps[1].spread < 0.8 * report.steps[0].spread
    assert report.settings["layer"] == "middle_block" and report.settings["guidance_scale"] == 4.0
    assert 0 <= report.settings["gradient_error"] < 0.01


def test_same_seed_same_picture_for_any_batch_size(hspace, prompts, empty_latent):
    reference = run_align(hspace, prompts, empty_latent)[0]["samples"]
    assert torch.equal(run_align(hspace, prompts, empty_latent)[0]["samples"], reference)
    single = run_align(hspace, prompts, empty_latent, batch_size=1)[0]["samples"]
    torch.testing.assert_close(single, reference, rtol=0, atol=0.02 * reference.abs().max().item())


def test_resume_after_interrupt_gives_the_same_latents(hspace, prompts, empty_latent, folders, caplog):
    change = dict(batch_size=1, resume=True)
    reference = run_align(hspace, prompts, empty_latent, batch_size=1)[0]["samples"]
    calls = Calls(hspace.model)
    counted = dataclasses.replace(hspace, model=calls.model)
    whole, _ = calls.during(run_align, counted, prompts, empty_latent, batch_size=1)
    stopped = calls.stop_when(lambda count: [state["step"] for state in saved_states(folders).values()] == [1])
    with pytest.raises(stopped):
        run_align(counted, prompts, empty_latent, **change)
    assert [state["step"] for state in saved_states(folders).values()] == [1]
    assert "resumed" not in caplog.text
    with caplog.at_level(logging.INFO):
        left, (resumed, report) = calls.during(run_align, counted, prompts, empty_latent, **change)
    assert "AlignTrajectories: resumed at step 1." in caplog.text
    assert torch.equal(resumed["samples"], reference)
    assert left < 0.75 * whole and len(report.steps) == 2


def test_an_interrupt_within_the_first_batch_loses_nothing(hspace, prompts, empty_latent, folders):
    """All latents are one batch, whose matching is most of the work."""
    change = dict(batch_size=4, aligned_steps=1)
    calls = Calls(hspace.model)
    counted = dataclasses.replace(hspace, model=calls.model)
    reference = run_align(hspace, prompts, empty_latent, **change)[0]["samples"]
    whole, _ = calls.during(run_align, counted, prompts, empty_latent, **change, resume=True)
    for path in (folders / "user").rglob("*.safetensors"):
        path.unlink()

    def in_the_middle(count):
        return count > 0.8 * whole and [state["step"] for state in saved_states(folders).values()] == [0]

    stopped = calls.stop_when(in_the_middle)
    with pytest.raises(stopped):
        run_align(counted, prompts, empty_latent, resume=True, **change)
    state, = saved_states(folders).values()
    first, last, iterations = state["under_way"]  # of the four together
    assert (first, last, state["matched"]) == (0, 4, 0) and iterations > 4 * 10
    left, (resumed, _) = calls.during(run_align, counted, prompts, empty_latent, resume=True, **change)
    assert torch.equal(resumed["samples"], reference) and left <= whole - iterations // 4


def test_changed_prompt_or_model_starts_anew(demo, hspace, prompts, empty_latent, folders):
    from mental_averages.nodes.comfyui import HSpace

    change = dict(resume=True, count=2, iterations=3)
    first = run_align(hspace, prompts, empty_latent, **change)[0]["samples"]
    again = run_align(hspace, prompts, empty_latent, **change)[0]["samples"]
    assert torch.equal(first, again)
    other = (pack.encode_prompt(demo[1], "cat"), prompts[1])
    assert not torch.equal(run_align(hspace, other, empty_latent, **change)[0]["samples"], first)
    patched = demo[0].clone()
    patched.set_model_sampler_post_cfg_function(lambda arguments: 0.9 * arguments["denoised"])
    changed = run_align(HSpace(patched, "middle_block", "none"), prompts, empty_latent, **change)[0]["samples"]
    assert not torch.equal(changed, first)


def test_saving_memory_changes_nothing(hspace, prompts, empty_latent):
    change = dict(resume=False, count=2, iterations=3)
    kept = run_align(hspace, prompts, empty_latent, **change)[0]["samples"]
    saved = run_align(hspace, prompts, empty_latent, save_memory=True, **change)[0]["samples"]
    torch.testing.assert_close(saved, kept, rtol=1e-4, atol=1e-4)


def test_plain_sampling_equals_core_ddim(demo, prompts, empty_latent):
    """With no aligned steps the node is a KSampler: same noise from the same seed, same prediction, same steps."""
    import nodes

    with torch.inference_mode():
        batch = {"samples": torch.zeros(3, 4, 8, 8)}
        (core,) = nodes.common_ksampler(demo[0], 11, 10, 4.0, "ddim", "normal", *prompts, batch)
        ours, _ = execute(demo[0], *prompts, empty_latent, count=3, steps=10, aligned_steps=0, cfg=4.0,
                          scheduler="normal", seed=11, keep=3, resume=False)
    torch.testing.assert_close(ours["samples"], core["samples"], rtol=1e-4, atol=1e-4)


def test_gauss_newton_and_block_checkpoints_do_not_go_together(small):
    model, prompts = small
    with pytest.raises(ValueError, match="turn save_memory off, or choose the solver"):
        align(model, prompts, solver="Gauss-Newton", save_memory=True)
    assert align(model, prompts, solver="Gauss-Newton", save_memory=True, aligned_steps=0).shape == (3, 4, 8, 8)
    assert align(model, prompts, solver="Gauss-Newton").isfinite().all()


@pytest.fixture
def attention_of_nvidia(comfyui, monkeypatch):
    """Attention as core computes it on an NVIDIA card: through torch, with kernels of core's own choice around every
    call. Gives the list of calls."""
    import comfy.ldm.modules.attention as attention
    import comfy.ops
    from torch.nn.attention import SDPBackend, sdpa_kernel

    priority = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    calls = []

    # As comfy/ops.py defines it where there is such a card.
    def scaled_dot_product_attention(q, k, v, *arguments, **options):
        calls.append(q.shape)
        with sdpa_kernel(priority, set_priority=True):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, *arguments, **options)

    monkeypatch.setattr(comfy.ops, "scaled_dot_product_attention", scaled_dot_product_attention)
    for name in ("optimized_attention", "optimized_attention_masked"):
        monkeypatch.setattr(attention, name, attention.attention_pytorch)
    return calls


def test_attention_of_nvidia_is_differentiated_once(small, attention_of_nvidia):
    assert align(*small, solver="L-BFGS").isfinite().all() and attention_of_nvidia


def test_gauss_newton_differentiates_attention_of_nvidia_twice(small, attention_of_nvidia):
    assert align(*small, solver="Gauss-Newton").isfinite().all() and attention_of_nvidia


def test_custom_begins_with_the_numbers_of_standard(comfyui):
    from mental_averages.nodes.alignment import AlignTrajectories

    choice = next(given for given in AlignTrajectories.GET_SCHEMA().inputs if given.id == "preset")
    brought = {option.key: {given.id: given for given in option.inputs} for option in choice.options}
    assert next(iter(brought)) == "standard"  # what a new node has
    assert {*brought} == {*PRESETS, "custom"} and not brought["draft"]
    assert brought["standard"].keys() == brought["paper"].keys() == {"keep"}
    solver = brought["custom"].pop("solver")
    assert [option.key for option in solver.options if option.inputs] == ["Adam"]
    assert {name: given.default for name, given in brought["custom"].items()} == NUMBERS


def run_node(demo, prompts, preset=None, **change):
    from mental_averages.nodes.alignment import AlignTrajectories

    arguments = {**dict(count=16, steps=3, cfg=4.0, scheduler="normal", seed=1, resume=False), **change}
    if preset is None:
        arguments = gathered(**{**dict(aligned_steps=2, iterations=2, keep=2), **arguments})
    else:
        arguments["preset"] = preset
    with torch.inference_mode():
        return AlignTrajectories.execute(demo[0], *prompts, {"samples": torch.zeros(1, 4, 8, 8)}, **arguments).args


def test_standard_is_custom_with_the_numbers_of_a_new_node(demo, prompts):
    named = run_node(demo, prompts, {"preset": "standard", "keep": 2})
    by_hand = run_node(demo, prompts, **{**NUMBERS, "aligned_steps": 3, "keep": 2})
    assert torch.equal(named[0]["samples"], by_hand[0]["samples"])
    ours, theirs = ({**report.settings, "preset": None} for _, report in (named, by_hand))
    assert ours == theirs


def test_a_model_stands_for_its_own_semantic_layer(demo, hspace, prompts, empty_latent):
    change = dict(count=2, iterations=3)
    hooked = run_align(hspace, prompts, empty_latent, **change)[0]["samples"]
    assert torch.equal(run_align(demo[0], prompts, empty_latent, **change)[0]["samples"], hooked)


def test_draft_is_that_of_the_library(demo, prompts):
    preset = PRESETS["draft"]
    latent, report = run_node(demo, prompts, {"preset": "draft"})
    assert report.settings["solver"] == dataclasses.asdict(preset.solver) and report.settings["preset"] == "draft"
    assert all(report.settings[name] == getattr(preset, name)
               for name in ("aligned_steps", "carried", "own_noise", "mean_error"))
    assert len(report.steps) == 1 and report.settings["count"] == 16 and latent["samples"].shape == (1, 4, 8, 8)


@pytest.mark.parametrize("solver, name", [("L-BFGS", "LBFGS"), ("Gauss-Newton", "GaussNewton")])
def test_widgets_choose_the_solver_and_lower_the_residual_on_the_real_model(demo, prompts, solver, name):
    _, report = run_node(demo, prompts, solver=solver, plateau=0.01, carried=2, own_noise=0.5, aligned_steps=1)
    assert report.settings["solver_name"] == name and report.settings["solver"]["plateau"] == 0.01
    assert all(after < 0.8 * before
               for before, after in zip(report.steps[0].residual_before, report.steps[0].residual_after))


def align_resuming(hspace, positive, negative, latent):
    return execute(hspace, positive, negative, latent, count=2, steps=4, aligned_steps=1, iterations=3, cfg=4.0,
                   scheduler="normal", seed=1, keep=1, resume=True)


def test_align_trajectories(hspace, prompts, numbered, empty_latent, folders):
    with torch.inference_mode():
        plain, ranged = (align_resuming(hspace, *pair, empty_latent)[0] for pair in (prompts, numbered))
    torch.testing.assert_close(ranged["samples"], plain["samples"])


@pytest.fixture
def parts(demo, prompts, empty_latent, folders):
    return dict(model=demo[0], positive=prompts[0], negative=prompts[1], latent=empty_latent, count=2, steps=4,
                aligned_steps=1, iterations=2, cfg=4.0, scheduler="normal", seed=0, keep=1)


def refuse(parts, message, **change):
    with pytest.raises(ValueError, match=message), torch.inference_mode():
        execute(**{**parts, **change})


def test_counts_and_steps(parts):
    refuse(parts, "count is 0", count=0)
    refuse(parts, "only 4 steps", aligned_steps=5)
    refuse(parts, "batch_size is -1", batch_size=-1)


def test_conditioning(parts):
    refuse(parts, "positive conditioning is empty", positive=[])
    refuse(parts, "negative conditioning is empty", negative=[])
    tensor, options = parts["positive"][0]
    refuse(parts, "holds 2 prompts in one batch", positive=[[torch.cat([tensor, tensor]), options]])
    refuse(parts, "carries an area", positive=[[tensor, {**options, "area": (8, 8, 0, 0)}]])
    refuse(parts, "carries a mask", positive=[[tensor, {**options, "mask": torch.ones(1, 8, 8)}]])
    refuse(parts, "carries a reference picture",
           negative=[[tensor, {**options, "reference_latents": [torch.zeros(1, 4, 8, 8)]}]])
    refuse(parts, "carries GLIGEN boxes", negative=[[tensor, {**options, "gligen": object()}]])
    refuse(parts, "carries a scheduled LoRA", positive=[[tensor, {**options, "hooks": object()}]])


def test_latents(parts):
    refuse(parts, "video, audio or combined", latent={"samples": torch.zeros(1, 4, 3, 8, 8)})
    refuse(parts, "video, audio or combined", latent={"samples": torch.zeros(1, 64, 100)})
    refuse(parts, "empty batch", latent={"samples": torch.zeros(0, 4, 8, 8)})
    refuse(parts, "inpainting mask",
           latent={"samples": torch.zeros(1, 4, 8, 8), "noise_mask": torch.ones(1, 8, 8)})
    refuse(parts, "16 channels", latent={"samples": torch.ones(1, 16, 8, 8)})
    from comfy.nested_tensor import NestedTensor

    refuse(parts, "video, audio or combined", latent={"samples": NestedTensor([torch.zeros(1, 4, 8, 8)] * 2)})


@pytest.mark.parametrize("pooling, size", [("none", (4, 4)), ("2x2", (2, 2)), ("16x16", (4, 4)), ("mean", ())])
def test_every_rung_of_the_pooling_ladder_can_be_aligned(bridge, demo, prompts, empty_latent, pooling, size):
    from mental_averages.nodes.hspace import HSpaceHook

    hspace = HSpaceHook.execute(demo[0], "auto", pooling).args[0]
    report = run_align(hspace, prompts, empty_latent)[1]
    first = report.steps[0]
    assert all(after < 0.5 * before for before, after in zip(first.residual_before, first.residual_after))
    # The gradient of the pooled features against a central difference.
    assert 0 <= report.settings["gradient_error"] < 0.01 and report.settings["pooling"] == pooling

    def shape(denoiser):
        return denoiser.features(torch.zeros(2, 4, 8, 8), 5.0).shape

    found = bridge.with_denoiser(demo[0], *prompts, 1.0, torch.tensor([5.0, 0.0]), (4, 8, 8), 0, shape, hspace.layer,
                                 hspace.pooling)
    assert found == (2, 320, *size)
