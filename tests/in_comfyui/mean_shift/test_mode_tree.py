"""ModeTree on small models and on the demo model: what comes out, what is kept, and what is refused before any work."""
import logging

import pytest
import torch
from queued_graphs import NONE, unfolded
from small_models import MODELS
from stopping import Calls, saved_states, untouched

import pack

COUNT, STEPS, CFG, SEED = 3, 6, 3.0, 9
MODES, LEVEL = {"cut": "modes", "modes": 2}, {"cut": "level", "level": 1}


class Decoder:
    """A VAE that shows the first three channels."""

    def decode(self, samples):
        pictures = samples[:, :3].movedim(1, -1)  # (N, H, W, 3), or (N, 1, H, W, 3) of videos
        return pictures.repeat_interleave(2, -2).repeat_interleave(2, -3).sigmoid()


def grow(model, prompts, shape=(4, 8, 8), vae=None, **change):
    from mental_averages.nodes.mean_shift import ModeTree

    arguments = dict(count=COUNT, steps=STEPS, cfg=CFG, scheduler="normal", seed=SEED, cut=MODES, noises=4,
                     iterations=4, levels="2, 4", resume=False)
    with torch.inference_mode():
        return ModeTree.execute(model, vae or Decoder(), *prompts, {"samples": torch.zeros(1, *shape)},
                                **{**arguments, **change}).args


@pytest.fixture(scope="module")
def found(small):
    return grow(*small)


def test_outputs_belong_together(found):
    averages, tree, sheet, clusters, latents, samples, report = found
    modes = sum(share.count > 1 for share in clusters.shares) or len(clusters.shares)
    assert averages.shape == (min(12, modes), 16, 16, 3) and latents["samples"].shape == (len(averages), 4, 8, 8)
    torch.testing.assert_close(averages, Decoder().decode(latents["samples"]))
    assert samples["samples"].shape == (COUNT, 4, 8, 8) and len(clusters.labels) == COUNT
    assert tree.shape[2:] == (1024, 3) and sheet.shape[0] == 1 and sheet.shape[3] == 3
    level = report.levels[len(report.levels) - report.settings["chosen"]]
    assert level.labels == clusters.labels.tolist() and [mode.count for mode in level.modes] == [
        share.count for share in clusters.shares]
    assert [level.step for level in report.levels] == [4, 2] and report.settings["guidance_scale"] == CFG
    assert type(report).from_json(report.to_json()).levels == report.levels


@pytest.mark.parametrize("name, shape", [("SD2.x", (4, 8, 8)), ("SDXL", (4, 8, 8)), ("SD3", (16, 8, 8)),
                                         ("Qwen-Image", (16, 8, 8))])
def test_every_kind_of_model_is_taken(built, name, shape):
    prompts = MODELS[name].conditioning(1), MODELS[name].conditioning(2)
    averages, _, _, clusters, latents, samples, _ = grow(built(name), prompts, shape, count=3, levels="2")
    assert torch.isfinite(averages).all() and torch.isfinite(latents["samples"]).all()
    assert len(samples["samples"]) == 3 and len(clusters.labels) == 3


def test_models_without_a_gradient_are_taken(comfyui):
    model = MODELS["SD1.5"].build()
    layer = model.model.diffusion_model.middle_block[0]
    whole = layer.forward
    layer.forward = lambda *arguments, **options: whole(*arguments, **options).detach()
    assert torch.isfinite(grow(model, (MODELS["SD1.5"].conditioning(1), MODELS["SD1.5"].conditioning(2)))[0]).all()


def test_samples_are_those_of_a_ksampler(small, found):
    import nodes

    model, prompts = small
    with torch.inference_mode():
        (plain,) = nodes.common_ksampler(model, SEED, STEPS, CFG, "euler", "normal", *prompts,
                                         {"samples": torch.zeros(COUNT, 4, 8, 8)})
    torch.testing.assert_close(found[5]["samples"], plain["samples"], rtol=1e-3, atol=1e-3)


def test_connected_samples_are_the_trees(small, found):
    again = grow(*small, samples=found[5], count=99)
    assert torch.equal(again[5]["samples"], found[5]["samples"])
    assert torch.equal(again[3].labels, found[3].labels)
    torch.testing.assert_close(again[4]["samples"], found[4]["samples"], rtol=1e-3, atol=1e-3)


def test_members_of_a_mode_are_selected(found):
    from mental_averages.nodes.modes import SelectMode

    clusters, samples = found[3], found[5]
    selected, _, every, count = SelectMode.execute(clusters, samples, 0).args
    assert torch.equal(selected["samples"], samples["samples"][list(clusters.members[0])])
    assert count == len(clusters.members[0]) and len(every) == len(clusters.members)


def test_micro_batches_change_nothing(small, found):
    for size in (2, 7):
        other = grow(*small, batch_size=size)
        assert torch.equal(other[3].labels, found[3].labels)
        torch.testing.assert_close(other[4]["samples"], found[4]["samples"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("end, share", [("error", 0.07), ("interrupt", 0.3), ("error", 0.9)],
                         ids=["samples", "tree", "averages"])
def test_goes_on_where_it_was_stopped(small, folders, found, end, share):
    model, prompts = small
    calls = Calls(model)
    count, _ = calls.during(grow, calls.model, prompts, batch_size=4)
    other, _ = calls.during(grow, calls.model, prompts, batch_size=4, seed=SEED + 1, resume=True)
    kept = set(saved_states(folders))
    with pytest.raises(calls.stop_when(lambda number: number >= other - count + share * count, end)):
        grow(calls.model, prompts, batch_size=4, resume=True)
    assert set(saved_states(folders)) - kept
    again, back = calls.during(grow, calls.model, prompts, batch_size=4, resume=True)
    assert again < other
    torch.testing.assert_close(back[4]["samples"], found[4]["samples"], rtol=1e-3, atol=1e-3)
    assert torch.equal(back[3].labels, found[3].labels)


def test_another_cut_and_another_tree_use_what_is_kept(small, folders):
    model, prompts = small
    calls = Calls(model)
    first, _ = calls.during(grow, calls.model, prompts, resume=True)
    cut, _ = calls.during(grow, calls.model, prompts, resume=True, cut=LEVEL)
    assert cut < first / 2
    before = saved_states(folders)
    calls.during(grow, calls.model, prompts, resume=True, levels="1, 3")
    assert sum("samples" in name for name in saved_states(folders)) == sum("samples" in name for name in before) == 1


def test_a_level_is_chosen_by_its_row(small):
    top, bottom = (grow(*small, cut={"cut": "level", "level": row}) for row in (1, 2))
    assert top[6].settings["chosen"] == 1 and bottom[6].settings["chosen"] == 2
    assert len(top[3].shares) <= len(bottom[3].shares)
    for found in (top, bottom):
        assert len(found[0]) == len(found[3].shares), "every mode of a row that was asked for has an average"
    assert bottom[3].labels.tolist() == bottom[6].levels[0].labels


def test_every_choice_shows_in_the_tree(small, found):
    for change in (dict(noises=6), dict(tree_guidance=3.0), dict(seed=1), dict(scheduler="karras"), dict(cfg=2.0)):
        other = grow(*small, **change)
        assert [level.error for level in other[6].levels] != [level.error for level in found[6].levels], change


def test_costs_are_told_before_the_run(small, caplog):
    with caplog.at_level(logging.INFO):
        grow(*small)
    told = next(message for message in caplog.messages if message.startswith("ModeTree: at most"))
    assert int(told.split()[3]) >= COUNT * STEPS + 2 * COUNT * 4 * 4


def test_levels_that_are_not_those_asked_for_are_told(small, caplog):
    report = grow(*small, levels="5")[6]
    steps = sorted(level.step for level in report.levels)
    assert len(steps) < 5 and report.settings["levels"] == "5"
    told, = (message for message in caplog.messages if "of 5 levels" in message)
    assert told.startswith(f"ModeTree: Only {len(steps)} of 5 levels")
    assert f"now they are {', '.join(map(str, steps))})" in told
    caplog.clear()
    assert grow(*small)[6].settings["levels"] == "2, 4"
    assert not [message for message in caplog.messages if "of 5 levels" in message]


@pytest.mark.parametrize("change, match", [
    (dict(count=1), "at least two samples"), (dict(count=0), "at least two samples"),
    (dict(noises=1), "at least 2 noises"), (dict(noises=5), "in pairs"), (dict(iterations=2), "iterations is 2"),
    (dict(levels="4, 2"), "rising steps"), (dict(levels="2, 2"), "rising steps"),
    (dict(levels="2, 6"), "between 0 and 5"), (dict(levels="0"), "how many there are"),
    (dict(levels="two"), "whole numbers"), (dict(levels="-1, 2"), "between 0 and 5"),
    (dict(cut={"cut": "level", "level": 3}), "has 2 levels"), (dict(cut={"cut": "modes", "modes": 0}), "cut.modes"),
    (dict(cut={}), "cut has no choice"), (dict(tree_guidance=float("nan")), "tree_guidance")])
def test_bad_widgets_are_refused_before_any_work(small, change, match):
    model, prompts = small
    with pytest.raises(ValueError, match=match):
        grow(untouched(model), prompts, **change)


@pytest.mark.parametrize("samples, match", [
    (torch.ones(1, 4, 8, 8), "at least two samples"), (torch.ones(3, 4, 8, 8), "samples are the same"),
    (torch.rand(3, 4, 8, 4), "asks for 8 x 8"), (torch.full((2, 4, 8, 8), float("nan")), "NaN"),
    (torch.zeros(2, 4, 8, 8), "is empty"), (torch.rand(2, 16, 8, 8), "16 channels")])
def test_samples_that_no_tree_grows_from_are_refused_before_any_work(small, samples, match):
    model, prompts = small
    with pytest.raises(ValueError, match=match):
        grow(untouched(model), prompts, samples={"samples": samples})


def test_prompts_that_change_on_the_way_are_refused_before_any_work(small):
    import comfy.hooks

    model, (positive, negative) = small
    hooked = [[tensor, {**options, "hooks": comfy.hooks.HookGroup()}] for tensor, options in positive]
    with pytest.raises(ValueError, match="where noise rises again"):
        grow(untouched(model), (hooked, negative))
    with pytest.raises(ValueError, match="one prompt at a time"):
        grow(untouched(model), ([[torch.cat([positive[0][0]] * 2), {}]], negative))


def level_members(report, row):
    labels = torch.tensor(report.levels[len(report.levels) - row].labels)
    return [torch.nonzero(labels == mode).flatten() for mode in labels.unique()]


def test_hearts_fall_into_modes_of_their_own(demo):
    model, clip, vae = demo
    prompts = pack.encode_prompt(clip, "heart"), pack.encode_prompt(clip, "")
    averages, _, _, clusters, latents, samples, report = grow(
        model, prompts, vae=vae, count=8, steps=10, scheduler="ddim_uniform", noises=6, iterations=8, levels="4, 6",
        cut={"cut": "level", "level": 2})
    sizes = [len(level.modes) for level in report.levels]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < 8
    assert averages.shape[1:] == (64, 64, 3) and sum(share.count for share in clusters.shares) == 8
    largest = sum(share.count > 1 for share in clusters.shares)
    values = (model, vae, *prompts, samples, clusters, None, None, "")
    assert largest and unfolded(values, NONE, images=None, most_modes=largest).expand
    assert sum(len(row) for row in level_members(report, 2)) == 8 and len(latents["samples"]) == len(averages)
