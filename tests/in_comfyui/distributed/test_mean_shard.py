"""MeanShard and MergeMeans: averages that go on from a mean of several files are those of one run."""
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
    assert on(untouched(model)) == name and path.stat().st_mtime_ns == before
    content = load_file(path)
    calls = Calls(model)
    for change in ({"seed": 2}, {"total": 48}, {"cfg": 5.0}):
        assert calls.during(on, calls.model, **change)[0] > 0, "another mean takes the place of the old one"
    path.write_bytes(path.read_bytes()[:-1])
    assert calls.during(on, calls.model)[0] > 0 and load_file(path).keys() == content.keys()
    assert all(torch.equal(load_file(path)[name], value) for name, value in content.items())


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
