"""ReconstructFromRepresentation on small models of ComfyUI's own classes."""
from dataclasses import replace

import pytest
import torch
from small_models import MODELS
from stopping import Calls, saved_states, untouched


def represented(model, name, count=2, **changes):
    from mental_averages.nodes.representation import ChannelMeans

    small, channels = MODELS[name], {"SD1.5": 4}.get(name, 16)
    latents = {"samples": torch.randn(count, channels, *small.size, generator=torch.Generator().manual_seed(5))}
    given = dict(levels="0.2, 0.6", draws=2, layer="auto", pooling="mean", seed=4, resume=False)
    with torch.inference_mode():
        return ChannelMeans.execute(model, small.conditioning(1), latents, **{**given, **changes}).args[0]


def drawn(model, name, found, prompt=1, **changes):
    from mental_averages.nodes.representation import ReconstructFromRepresentation

    given = dict(model=model, positive=MODELS[name].conditioning(prompt), representation=found, count=3, iterations=6,
                 learning_rate=0.02, seed=3, batch_size=2, resume=False)
    with torch.inference_mode():
        return ReconstructFromRepresentation.execute(**{**given, **changes}).args


@pytest.mark.parametrize("name", ["SD1.5", "SD3", "Flux"])
def test_latents_are_matched_and_the_model_is_as_before(built, folders, name):
    model = built(name)
    before = {key: value.clone() for key, value in model.model.state_dict().items()}
    found = represented(model, name)
    latent, table, report = drawn(model, name, found, iterations=30)
    assert latent["samples"].shape == (3, *found.shape) and latent["samples"].isfinite().all()
    assert not latent["samples"].is_inference()
    for level in report.levels:
        assert max(after / first for first, after in zip(level.residual_before, level.residual_after)) < 0.7
    assert table.count("\n") == 3 and len(report.distances) == 3 and len(report.sources) == 2
    assert torch.equal(drawn(model, name, found, iterations=30)[0]["samples"], latent["samples"])
    assert all(torch.equal(before[key], value) for key, value in model.model.state_dict().items())
    assert not any(module._forward_hooks for module in model.model.diffusion_model.modules())


def test_the_distance_is_that_of_the_latents_that_come_out(built, folders):
    from mental_averages.dma.representation import centroid, distances_to
    from mental_averages.nodes.representation import ChannelMeans

    model = built("SD1.5")
    found = represented(model, "SD1.5")
    latent, _, report = drawn(model, "SD1.5", found, weights="3, 1")
    with torch.inference_mode():
        again = ChannelMeans.execute(model, MODELS["SD1.5"].conditioning(1), latent, "0.2, 0.6", 2, "auto", "mean", 4,
                                     resume=False).args[0]
    assert distances_to(again, centroid(found, [3, 1])) == pytest.approx(report.distances, rel=1e-3)


@pytest.mark.parametrize("end", ["interrupt", "error"])
def test_an_interrupted_reconstruction_goes_on(built, folders, end):
    model = built("SD1.5")
    found = represented(model, "SD1.5")
    whole = drawn(model, "SD1.5", found, share=0.0)
    calls = Calls(model)
    count, _ = calls.during(drawn, calls.model, "SD1.5", found, share=0.0)
    with pytest.raises(calls.stop_when(lambda number: number == count - 10, end)):
        drawn(calls.model, "SD1.5", found, share=0.0, resume=True)
    assert [len(meta["records"]) for meta in saved_states(folders).values()] == [1]
    assert not any(module._forward_hooks for module in model.model.diffusion_model.modules())
    rest, again = calls.during(drawn, calls.model, "SD1.5", found, share=0.0, resume=True)
    assert rest < count and torch.equal(again[0]["samples"], whole[0]["samples"])
    assert again[2].levels == whole[2].levels


@pytest.mark.parametrize("changes, message", [
    (dict(count=0), "count"), (dict(learning_rate=0.0), "learning_rate"), (dict(share=2.0), "share"),
    (dict(channels=9999), "channels is 9999, but this representation has"),
    (dict(weights="1"), "weights has 1 numbers, but representation holds 2"),
    (dict(weights="0, 0"), "not all zero"), (dict(weights="some"), "weights"), (dict(positive=[]), "positive"),
    (dict(representation=dict(layer="nonsense")), "no layer 'nonsense'"),
    (dict(representation=dict(shape=(16, 6, 4))), "16 channels"),
    (dict(representation=dict(sigmas=(1.0, 0.0))), "noise levels above 0"),
])
def test_bad_input_is_refused_before_work_starts(built, folders, changes, message):
    model = built("SD1.5")
    found = represented(model, "SD1.5")
    if "representation" in changes:
        changes = {"representation": replace(found, **changes["representation"])}
    with pytest.raises(ValueError, match=message):
        drawn(untouched(model), "SD1.5", found, **changes)


def test_another_prompt_is_refused(built, folders):
    model = built("SD1.5")
    with pytest.raises(ValueError, match="another prompt"):
        drawn(model, "SD1.5", represented(model, "SD1.5"), prompt=2)
