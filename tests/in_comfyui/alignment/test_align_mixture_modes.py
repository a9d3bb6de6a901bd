"""AlignMixtureModes on small models of ComfyUI's classes, inside inference mode as ComfyUI runs it."""
import copy
import functools
import json

import pytest
import torch
from alignments import execute
from small_models import MODELS
from stopping import Calls, saved_states, untouched

TWO = {"components": "fixed", "modes": 2}


@pytest.fixture(scope="module", params=["SD1.5", "SD3"])
def small(request, comfyui):
    """(kind, MODEL, positive, negative, empty latent)."""
    kind = MODELS[request.param]
    model = kind.build()
    channels = model.model.latent_format.latent_channels
    return kind, model, kind.conditioning(1), kind.conditioning(2), {"samples": torch.zeros(1, channels, *kind.size)}


@torch.inference_mode()
def run(small, model=None, **change):
    from mental_averages.nodes.alignment import AlignMixtureModes
    from mental_averages.nodes.hspace import HSpaceHook

    _, own, positive, negative, latent = small
    hspace = HSpaceHook.execute(model or own, "auto", "none").args[0]
    arguments = dict(count=9, components=TWO, steps=5, aligned_steps=1, cfg=2.0, scheduler="normal", seed=4,
                     preset="draft", mixture_level=0.4, minimum_size=1, resume=False)
    return AlignMixtureModes.execute(hspace, positive, negative, latent, **{**arguments, **change}).args


@torch.inference_mode()
def test_a_model_is_taken_at_its_own_semantic_layer(small):
    from mental_averages.nodes.alignment import AlignMixtureModes

    _, model, positive, negative, latent = small
    modes, *_, report = AlignMixtureModes.execute(
        model, positive, negative, latent, count=9, components=TWO, steps=5, aligned_steps=1, cfg=2.0,
        scheduler="normal", seed=4, preset="draft", mixture_level=0.4, minimum_size=1, resume=False).args
    hooked, *_, expected = run(small)
    assert torch.equal(modes["samples"], hooked["samples"])
    assert report.settings["layer"] == expected.settings["layer"] and report.settings["pooling"] == "none"


def test_modes_partition_the_plain_samples(small):
    from mental_averages.dma.alignment import MixtureReport
    from mental_averages.nodes.modes import SelectMode

    latents, clusters, samples, report = run(small)
    shape = small[4]["samples"].shape[1:]
    assert latents["samples"].shape == (2, *shape) and samples["samples"].shape == (9, *shape)
    assert sorted(sum(clusters.members, ())) == list(range(9)) and len(clusters.members[0]) >= len(clusters.members[1])
    with torch.inference_mode():
        plain, _ = execute(*small[1:], count=9, steps=5, aligned_steps=0, cfg=2.0, scheduler="normal", seed=4, keep=9,
                           resume=False)
        selected = SelectMode.execute(clusters, samples, 1).args[0]["samples"]
    torch.testing.assert_close(samples["samples"], plain["samples"], rtol=1e-4, atol=1e-4)
    assert torch.equal(selected, samples["samples"][list(clusters.members[1])])
    assert [record.count for record in report.modes] == [len(members) for members in clusters.members]
    assert report.settings["level"] == 2 and report.settings["preset"] == "draft" and report.settings["layer"]
    assert MixtureReport.from_json(report.to_json()).to_json() == report.to_json()
    again = run(small)
    assert torch.equal(again[0]["samples"], latents["samples"]) and again[1].to_json() == clusters.to_json()


def test_the_model_stays_as_it_was(small):
    before = copy.deepcopy(small[1].model.state_dict())
    run(small)
    after = small[1].model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_connected_samples_are_the_ones_that_are_averaged(small):
    generator = torch.Generator().manual_seed(0)
    pictures = 30 * torch.randn((2, *small[4]["samples"].shape[1:]), generator=generator).repeat_interleave(4, 0)
    halves = {"samples": pictures + torch.randn(pictures.shape, generator=generator)}
    latents, clusters, samples, report = run(small, samples=halves, mixture_level=0.8, count=0)
    torch.testing.assert_close(samples["samples"], halves["samples"], rtol=1e-4, atol=1e-4)
    assert latents["samples"].shape[0] == 2 and report.settings["count"] == 8
    assert clusters.labels[:4].unique().numel() == 1 == clusters.labels[
        4:].unique().numel(), "two pictures, four times each"
    one, single, _, _ = run(small, samples=halves, components={"components": "fixed", "modes": 1})
    assert one["samples"].shape[0] == 1 == len(single.members)


def test_bic_chooses_among_the_numbers_asked_for(small):
    _, clusters, _, report = run(small, components={"components": "bic", "smallest": 1, "largest": 3}, dimensions=3)
    assert [count for count, _ in clusters.bic] == [1, 2, 3] == [count for count, _ in report.bic]


@pytest.mark.parametrize("part", ["samples", "mode-1"])
def test_it_goes_on_after_an_interrupt(small, folders, monkeypatch, part):
    from mental_averages.dma import execution

    monkeypatch.setattr(execution, "Checkpoint", functools.partial(execution.Checkpoint, seconds=-1))
    change = dict(preset="standard", batch_size=2)
    reference = run(small, **change)

    def is_begun(count):
        return any(name.endswith(part) and state["step"] == 1 for name, state in saved_states(folders).items())

    calls = Calls(small[1])
    with pytest.raises(calls.stop_when(is_begun)):
        run(small, calls.model, resume=True, **change)
    assert part in {name.split("-", 1)[1] for name in saved_states(folders)}
    resumed = run(small, resume=True, **change)
    assert (torch.equal(resumed[0]["samples"], reference[0]["samples"])
            and torch.equal(resumed[2]["samples"], reference[2]["samples"]))
    assert json.loads(resumed[3].to_json())["modes"][0]["distances"] == pytest.approx(reference[3].modes[0].distances)


@pytest.mark.parametrize("change, message", [
    (dict(count=1), "at least two pictures"), (dict(count=0), "at least 1 latent"),
    (dict(aligned_steps=4), "only 3 of 5 steps are left"),
    (dict(components={"components": "fixed", "modes": 10}), "10 clusters need at least as many"),
    (dict(components={"components": "bic", "smallest": 3, "largest": 2}), "must not go down"),
    (dict(minimum_size=10), "minimum size of a cluster is 10"), (dict(samples="nan"), "NaN"),
    (dict(samples="empty"), "empty"),
    (dict(samples="masked"), "inpainting mask")])
def test_bad_input_is_refused_before_any_work(small, change, message):
    if "samples" in change:
        shape = (3, *small[4]["samples"].shape[1:])
        made = {"nan": {"samples": torch.full(shape, float("nan"))}, "empty": {"samples": torch.zeros(shape)},
                "masked": {"samples": torch.ones(shape), "noise_mask": torch.ones(3, 8, 8)}}
        change = {"samples": made[change["samples"]]}
    with pytest.raises(ValueError, match=message):
        run(small, untouched(small[1]), **change)


def test_align_mixture_modes(hspace, numbered, samples, folders):
    from mental_averages.nodes.alignment import AlignMixtureModes

    with torch.inference_mode():
        latents = AlignMixtureModes.execute(hspace, *numbered, samples, 3, {"components": "fixed", "modes": 1}, 4, 1,
                                            3.0, "normal", 0, "draft", 0.3, samples=samples, minimum_size=1).args[0]
    assert torch.isfinite(latents["samples"]).all()
