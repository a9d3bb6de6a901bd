"""MeanShard and MergeMeans: averages that go on from a mean of several files are those of one run."""
import math
import shutil
import sys

import pytest
import torch
from alignments import run_align
from safetensors.torch import load_file
from stopping import Calls, saved_states, untouched

TOTAL, CFG, SEED = 40, 4.0, 1


@pytest.fixture
def hspaces(small):
    """Makes the HSPACE of a MODEL."""
    from mental_averages.nodes.hspace import HSpaceHook

    return lambda model: HSpaceHook.execute(model, "auto", "none").args[0]


ALIGN = {"average": "AlignTrajectories", "branch": "conditional"}
SHIFT = {"average": "MentalAverage", "guidance_share": 0.7}


def shard(model, prompts, average, start=0, count=TOTAL, **change):
    from mental_averages.nodes.distributed import MeanShard

    positive, negative = prompts
    arguments = dict(total=TOTAL, steps=6, cfg=CFG, scheduler="normal", seed=SEED, filename_prefix="castle/mean",
                     batch_size=16, resume=False, negative=negative)
    with torch.inference_mode():
        return MeanShard.execute(model, positive, {"samples": torch.zeros(1, 4, 8, 8)}, average, start, count,
                                 **{**arguments, **change}).args[0]


def merged(*paths):
    from mental_averages.nodes.distributed import MergeMeans

    return MergeMeans.execute("\n".join(paths)).args


def average(model, prompts, **change):
    from mental_averages.nodes.mean_shift import MentalAverage

    positive, negative = prompts
    arguments = dict(count=TOTAL, steps=6, averaged_steps=2, cfg=CFG, scheduler="normal", seed=SEED, batch_size=16,
                     resume=False, negative=negative)
    with torch.inference_mode():
        return MentalAverage.execute(model, positive, {"samples": torch.zeros(1, 4, 8, 8)},
                                     **{**arguments, **change}).args


ALIGNED = dict(count=TOTAL, iterations=3, solver="L-BFGS", carried=2, own_noise=0.3, batch_size=16)


def test_an_alignment_goes_on_from_shards_however_many_there_are(small, hspaces, folders):
    model, prompts = small
    hspace, latent = hspaces(model), {"samples": torch.zeros(1, 4, 8, 8)}
    expected, report = run_align(hspace, prompts, latent, **ALIGNED)
    names = [shard(hspace, prompts, ALIGN, *rows) for rows in ((0, 16), (16, 16), (32, 16))]
    assert names[2] == "castle/mean_0000032_0000040.safetensors"
    whole = shard(hspace, prompts, ALIGN, filename_prefix="one")
    found = []
    for paths in (names[::-1], [whole]):
        mean, rows, error = merged(*paths)
        latents, own = run_align(hspace, prompts, latent, **{**ALIGNED, "count": 3}, first_mean=mean)
        assert rows == TOTAL == own.steps[0].mean_count and error == own.steps[0].mean_error
        found.append(latents["samples"])
    assert torch.equal(*found), "the same whatever the shards"
    torch.testing.assert_close(found[0], expected["samples"], rtol=1e-3, atol=1e-3)
    assert error == pytest.approx(report.steps[0].mean_error, rel=1e-5)


def test_a_mental_average_goes_on_from_shards_however_many_there_are(small, folders):
    model, prompts = small
    expected, _, report = average(model, prompts)
    paths = [shard(model, prompts, SHIFT, *rows) for rows in ((0, 32), (32, 8))]
    found = []
    for names in (paths, [shard(model, prompts, SHIFT, filename_prefix="one")]):
        mean, _, error = merged(*names)
        latents, _, own = average(model, prompts, first_mean=mean)
        assert [level.count for level in own.levels] == [TOTAL, TOTAL]
        assert error == pytest.approx(report.levels[0].mean_error, rel=1e-5)
        found.append(latents["samples"])
    assert torch.equal(*found)
    torch.testing.assert_close(found[0], expected["samples"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [ALIGN, SHIFT], ids=["features", "predictions"])
def test_what_is_there_is_not_done_again(small, folders, kind):
    model, prompts = small

    def on(copy, **change):
        return shard(copy, prompts, kind, 0, 16, **change)

    name = on(model)
    path = folders / "output" / name
    before = path.stat().st_mtime_ns
    calls = Calls(model)
    asked, again = calls.during(on, calls.model)
    assert asked <= 3 and again == name and path.stat().st_mtime_ns == before, "only what model it is has been asked"
    content = {name: value.clone() for name, value in load_file(path).items()}  # not the bytes of the file below
    path.write_bytes(path.read_bytes()[:-1])
    assert calls.during(on, calls.model)[0] > 0 and load_file(path).keys() == content.keys()
    assert all(torch.equal(load_file(path)[name], value) for name, value in content.items())


def test_a_shard_of_another_mean_is_not_replaced(small, folders):
    model, prompts = small
    name = shard(model, prompts, SHIFT, 0, 16)
    path = folders / "output" / name
    before, idle = path.read_bytes(), untouched(model)
    for change in ({"seed": 2}, {"total": 48}, {"cfg": 5.0}, {"prompts": prompts[::-1]}):
        given = change.pop("prompts", prompts)
        with pytest.raises(ValueError, match=f"{name} is there already, with rows of another mean.*filename_prefix"):
            shard(idle, given, SHIFT, 0, 16, **change)
    assert path.read_bytes() == before
    assert shard(model, prompts, SHIFT, 0, 16, seed=2, filename_prefix="castle/other") != name


def test_a_mean_that_another_server_has_written_meanwhile_is_not_replaced(small, folders, monkeypatch):
    from mental_averages.nodes import comfyui

    model, prompts = small
    others = folders / "output" / shard(model, prompts, SHIFT, 0, 16, seed=2, filename_prefix="castle/others")
    path = others.with_name("mean_0000000_0000016.safetensors")
    compute = comfyui.with_denoiser

    def while_it_computes(*given, **options):
        found = compute(*given, **options)
        shutil.copy(others, path)
        return found

    with monkeypatch.context() as patched, pytest.raises(ValueError, match="is there already, with rows of another"):
        patched.setattr(comfyui, "with_denoiser", while_it_computes)
        shard(model, prompts, SHIFT, 0, 16, resume=True)
    assert path.read_bytes() == others.read_bytes()
    path.unlink()
    asked, _ = (calls := Calls(model)).during(shard, calls.model, prompts, SHIFT, 0, 16, resume=True)
    assert asked <= 3, "what was computed is not lost"


def test_an_interrupted_shard_goes_on_where_it_was(small, folders):
    model, prompts = small
    calls = Calls(model)
    arguments = {"count": 32, "batch_size": 4, "resume": True, "filename_prefix": "stopped"}
    expected, _ = calls.during(shard, calls.model, prompts, SHIFT, **{**arguments, "filename_prefix": "whole"})
    for states in (folders / "user").rglob("*.safetensors"):
        states.unlink()
    error = calls.stop_when(lambda number: number >= expected - 2)
    with pytest.raises(error):
        shard(calls.model, prompts, SHIFT, **arguments)
    assert len(saved_states(folders)) == 1 and not list((folders / "output").glob("stopped*"))
    again, name = calls.during(shard, calls.model, prompts, SHIFT, **arguments)
    assert 0 < again < expected
    files = [load_file(next((folders / "output").glob(f"{prefix}*"))) for prefix in ("whole", "stopped")]
    assert all(torch.equal(value, files[1][key]) for key, value in files[0].items()) and name.startswith("stopped")


@pytest.mark.parametrize("change, message", [
    ({"start": 8}, "multiples of 16"), ({"count": 8}, "multiples of 16"),
    ({"start": 48}, "start is 48, but total only 40"),
    ({"filename_prefix": "../mean"}, "not a file name inside ComfyUI's output folder"),
    ({"average": ALIGN, "negative": None}, "negative is not connected: AlignTrajectories"),
    ({"hook": True}, "model comes from HSpaceHook, but MentalAverage reads no features"),
])
def test_what_makes_no_shard_is_said_before_work_starts(small, hspaces, folders, change, message):
    model, prompts = small
    model = untouched(model)
    if change.pop("hook", False):
        model = hspaces(model)
    with pytest.raises(ValueError, match=message):
        shard(model, prompts, **{"average": SHIFT, **change})


def test_a_shard_without_a_negative_prompt_is_that_of_an_average_without_one(small, folders):
    model, prompts = small
    mean, *_ = merged(shard(model, prompts, SHIFT, negative=None))
    found, *_ = average(model, prompts, first_mean=mean, negative=None)
    expected, *_ = average(model, prompts, negative=None)
    torch.testing.assert_close(found["samples"], expected["samples"], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="model and prompts are not the same"):
        average(model, prompts, first_mean=mean)


def test_a_mean_of_other_settings_is_refused(small, hspaces, folders):
    model, prompts = small
    latent = {"samples": torch.zeros(1, 4, 8, 8)}
    of_features = merged(shard(model, prompts, ALIGN, filename_prefix="features"))[0]
    of_predictions = merged(shard(model, prompts, SHIFT, filename_prefix="predictions"))[0]
    idle = untouched(model)
    hspace = hspaces(idle)
    for change, message in (({"seed": 2}, "another run: seed is not"), ({"steps": 8, "seed": 2}, "seed"),
                            ({"branch": "guided"}, "branch is not"),
                            ({"first_mean": of_predictions}, "what is averaged")):
        with pytest.raises(ValueError, match=message):
            run_align(hspace, prompts, latent, **{**ALIGNED, "first_mean": of_features, **change})
    with pytest.raises(ValueError, match="model and prompts are not the same"):
        run_align(hspace, prompts[::-1], latent, **ALIGNED, first_mean=of_features)
    for change, message in (({"cfg": 2.0}, "cfg and guidance_share are"), ({"first_mean": of_features}, "what is"),
                            ({"start": {"samples": torch.ones(1, 4, 8, 8)}}, "start and first_mean")):
        with pytest.raises(ValueError, match=message):
            average(idle, prompts, **{"first_mean": of_predictions, **change})


FACTOR = 1.0


def by_a_number_elsewhere(arguments):
    return FACTOR * arguments["denoised"]


def patched(model):
    """A MODEL with a patch that looks up what it does, where no key sees it."""
    other = model.clone()
    other.set_model_sampler_post_cfg_function(by_a_number_elsewhere)
    return other


def test_a_shard_of_another_model_with_the_same_weights_is_not_taken(small, folders, monkeypatch):
    model, prompts = patched(small[0]), small[1]
    first, second = (shard(model, prompts, SHIFT, start, 32, filename_prefix="one") for start in (0, 32))
    mean, *_ = merged(first, second)
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 0.5)
    with pytest.raises(ValueError, match="first_mean is that of another model.*differs by"):
        average(model, prompts, first_mean=mean)
    path = folders / "output" / second
    before = path.read_bytes()
    assert shard(model, prompts, SHIFT, 32, 32, filename_prefix="one") == second
    assert path.read_bytes() != before, "made anew"
    with pytest.raises(ValueError, match=f"{second} was made by another model than {first}.*differs by"):
        merged(first, second)
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 1.0)
    shard(model, prompts, SHIFT, 32, 32, filename_prefix="one")
    assert merged(first, second)[1] == TOTAL


def test_an_alignment_does_not_go_on_from_the_mean_of_another_model(small, hspaces, folders, monkeypatch):
    model, prompts = patched(small[0]), small[1]
    mean, *_ = merged(shard(hspaces(model), prompts, ALIGN))
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 0.5)
    with pytest.raises(ValueError, match="first_mean is that of another model"):
        run_align(hspaces(model), prompts, {"samples": torch.zeros(1, 4, 8, 8)}, **ALIGNED, first_mean=mean)
    with pytest.raises(ValueError, match="first_mean is connected, but aligned_steps is 0"):
        run_align(hspaces(untouched(model)), prompts, {"samples": torch.zeros(1, 4, 8, 8)},
                  **{**ALIGNED, "aligned_steps": 0}, first_mean=mean)


def test_machines_that_round_otherwise_may_share_a_mean(small, folders, caplog):
    from mental_averages.dma.statistics import load_shard, save_shard

    model, prompts = small
    names = [shard(model, prompts, SHIFT, *rows) for rows in ((0, 32), (32, 8))]
    path = folders / "output" / names[1]
    found = load_shard(path)
    object.__setattr__(found, "answers", found.answers * 1.02)
    save_shard(found, path)
    with pytest.raises(ValueError, match="another model"):
        merged(*names)
    object.__setattr__(found, "made_by", {**found.made_by, "device": "another card"})
    save_shard(found, path)
    assert merged(*names)[1] == TOTAL and "device another card" in caplog.text


def test_a_file_of_other_rows_under_the_name_is_made_anew(small, folders):
    model, prompts = small
    first = folders / "output" / shard(model, prompts, SHIFT, 0, 16)
    shutil.copy(first, folders / "output" / "castle" / "mean_0000016_0000032.safetensors")
    last = shard(model, prompts, SHIFT, 32, 8)
    assert merged(f"castle/{first.name}", shard(model, prompts, SHIFT, 16, 16), last)[1] == TOTAL


def test_it_is_looked_at_whether_the_file_is_there(small, folders):
    from mental_averages.nodes.distributed import MeanShard

    model, prompts = small
    given = {"start": 32, "count": 16, "total": TOTAL, "filename_prefix": "castle/mean", "seed": SEED}
    assert math.isnan(MeanShard.fingerprint_inputs(**given))
    name = shard(model, prompts, SHIFT, 32, 16)
    told = MeanShard.fingerprint_inputs(**given)
    assert told == MeanShard.fingerprint_inputs(**given) and math.isnan(MeanShard.fingerprint_inputs(**{
        **given, "total": None}))
    (folders / "output" / name).write_bytes(b"another one")
    assert MeanShard.fingerprint_inputs(**given) != told


def test_where_no_file_can_be_is_said_before_work_starts(small, folders):
    model, prompts = small
    (folders / "output" / "mean_0000000_0000040.safetensors").mkdir()
    with pytest.raises(ValueError, match="'mean' cannot be written into ComfyUI's output folder"):
        shard(untouched(model), prompts, SHIFT, filename_prefix="mean")


def test_shards_of_two_runs_are_told_apart_by_the_inputs(small, folders):
    model, prompts = small
    names = [shard(model, prompts, SHIFT, start, 32, seed=seed, cfg=cfg, filename_prefix="two")
             for start, seed, cfg in ((0, 1, 4.0), (32, 2, 5.0))]
    with pytest.raises(ValueError, match="other settings than .*: cfg and guidance_share, seed are not the same"):
        merged(*names)
