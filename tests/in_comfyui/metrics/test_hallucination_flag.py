"""HallucinationFlag: scores, percentiles and flags of recorded latents, and sentences for what was not recorded."""
import pytest
import torch
from pictures import check_picture


@pytest.fixture
def remembered(bridge):
    """Puts latents (N, 4, 8, 8) with these scores among what has been recorded."""
    def put(scores, seed=0, levels=(0.5, 0.2), shape=(4, 8, 8), **kind):
        latents = torch.randn(len(scores), *shape, generator=torch.Generator().manual_seed(seed))
        kind = {"model": "a", "prompts": "b", "guidance": 4.0, "sampler": "euler", "steps": 8, "start": 14.6, **kind}
        bridge.remember(latents, torch.tensor(scores), levels, bridge.SamplingKind(**kind))
        return {"samples": latents}

    return put


def flag(latents, references, rate=0.05):
    from mental_averages.nodes.metrics import HallucinationFlag

    with torch.inference_mode():
        return HallucinationFlag.execute(latents, references, rate).args


def test_flags_and_what_is_kept(remembered):
    references = remembered([float(value) for value in range(1, 20)], 1)
    latents = remembered([0.5, 30.0, 19.0, 25.0], 2)
    figure, table, report, flagged, kept = flag(latents, references)
    check_picture(figure, 1024)
    assert report.flagged == [False, True, False, True] and flagged is True and report.threshold == 19.0
    assert torch.equal(kept["samples"], latents["samples"][[0, 2]])
    assert report.settings == {"last_steps": 2, "levels": [0.5, 0.2], "false_positive_rate": 0.05}
    assert "| 2 | 30 | 100.0 | flagged |" in table and "2 of 4 are above 19, as at most 5.0% of samples" in table
    *_, report, flagged, kept = flag(references, references)
    assert not flagged and len(kept["samples"]) == 19
    assert "others alone, which are too few for a flag at this rate" in report.cautions[0]
    more = {"samples": torch.cat([references["samples"], remembered([0.2], 3)["samples"]])}
    _, table, report, *_ = flag(references, more)
    assert report.flagged == [False] * 18 + [True] and report.settings["among_references"] == list(range(1, 20))
    assert "1, 2, 3, 4, 5, 6, 7, 8 …: among the references, too, and compared with the others alone;" in table
    from mental_averages.nodes.figures import PlotReport

    assert torch.equal(PlotReport.execute(flag(latents, references)[2], 1024).args[0], figure)


def test_where_all_are_flagged_nothing_goes_on(remembered):
    from comfy_execution.graph_utils import ExecutionBlocker

    found = flag(remembered([99.0], 4), remembered([1.0] * 19, 5))
    assert found[3] is True and isinstance(found[4], ExecutionBlocker)


def test_on_a_sampler(small):
    """What is sampled as the references are is rarely flagged; what goes on moving to its end is."""
    import nodes

    from mental_averages.nodes.metrics import RecordPredictions

    model, texts = small

    def drawn(change, count, seed):
        changed = model.clone()
        changed.set_model_sampler_post_cfg_function(change)
        with torch.inference_mode():
            recording = RecordPredictions.execute(changed, 3).args[0]
            return nodes.common_ksampler(recording, seed, 8, 4.0, "euler", "normal", *texts,
                                         {"samples": torch.zeros(count, 4, 8, 8)})[0]

    def restless(arguments):
        # Of sigma alone an Euler step takes as much off the latent as is added to the prediction.
        return arguments["denoised"] + arguments["sigma"].square().view(-1, 1, 1, 1)

    usual = drawn(lambda arguments: arguments["denoised"], 19, 1)
    assert all(flag(drawn(restless, 4, 2), usual)[2].flagged)
    assert sum(flag(drawn(lambda arguments: arguments["denoised"], 20, 3), usual)[2].flagged) <= 6


@pytest.mark.parametrize("rate, complaint", [
    (0.05, "references holds 5 latents, but a false positive rate of 0.05 needs at least 19: .* choose 0.167 or more"),
    (0.0, "false_positive_rate"), (0.9, "false_positive_rate"), (float("nan"), "false_positive_rate")])
def test_rates_that_cannot_be_had(remembered, rate, complaint):
    with pytest.raises(ValueError, match=complaint):
        flag(remembered([1.0], 6), remembered([1.0, 2.0, 3.0, 4.0, 5.0], 7), rate)


def test_the_rate_that_is_advised_can_be_had(remembered):
    latents, references = remembered([2.0], 6), remembered([1.0, 1.5], 13)
    with pytest.raises(ValueError, match="choose 0.334 or more"):
        flag(latents, references, 0.1)
    assert flag(latents, references, 0.334)[3] is True


def test_a_reference_counts_once(remembered):
    """Copies are no references of their own: with them, any latent above a single one would be flagged."""
    latents, references = remembered([2.0], 14), remembered([1.0], 15)
    with pytest.raises(ValueError, match="references holds 1 different latent, but .* needs at least 19"):
        flag(latents, {"samples": references["samples"].repeat(19, 1, 1, 1)})
    some = remembered([float(value) for value in range(1, 20)], 16)
    report = flag(latents, {"samples": torch.cat([some["samples"], some["samples"][:7]])})[2]
    assert report.references == [float(value) for value in range(1, 20)]


@pytest.mark.parametrize("shape", [(4, 8, 6), (16, 8, 8)])
def test_latents_of_another_size_cannot_be_compared(remembered, shape):
    with pytest.raises(ValueError, match=r"different sizes, .*\(4, 8, 8\), and their scores"):
        flag(remembered([1.0], 17, shape=shape), remembered([float(value) for value in range(19)], 18))


def test_what_was_not_recorded_is_named(remembered):
    latents, usual = remembered([1.0, 2.0, 3.0], 8), remembered([1.0] * 19, 9)
    changed = {"samples": latents["samples"].clone()}
    changed["samples"][1] += 1e-3
    with pytest.raises(ValueError, match="latents holds 3 latents, and those with the numbers 2 were not recorded"):
        flag(changed, usual)
    with pytest.raises(ValueError, match="references holds 19 latents, and none of them was recorded. Connect"):
        flag(latents, {"samples": usual["samples"] * 1.1})


def test_other_levels_cannot_be_compared(remembered):
    with pytest.raises(ValueError, match="last 2 steps, from noise level 0.5 to 0.2, but one of latents in its last 3"):
        flag(remembered([1.0], 10, (0.5, 0.2, 0.1)), remembered([1.0] * 19, 11))


def test_levels_of_one_schedule_may_differ_in_their_last_bits(remembered):
    """As those of the first sampling after a start do, before the model has gone to a card."""
    levels = tuple(torch.nextafter(torch.tensor([0.5, 0.2]), torch.ones(())).tolist())
    assert flag(remembered([1.0], 10, levels), remembered([1.0] * 19, 11))[2].flagged == [False]
    with pytest.raises(ValueError, match="scores cannot be compared"):
        flag(remembered([1.0], 12, (0.5, 0.201)), remembered([1.0] * 19, 11))


@pytest.mark.parametrize("kind, words", [
    (dict(model="another"), "2 by another model, LoRA or patch"), (dict(prompts="another"), "2 with other prompts"),
    (dict(guidance=7.5), "2 at guidance 7.5 instead of 4"), (dict(guidance=None), "2 at guidance none instead of 4"),
    (dict(sampler="dpmpp_2m"), "2 by the sampler dpmpp_2m instead of euler"),
    (dict(steps=20), "2 in 20 steps instead of 8"), (dict(start=7.25), "2 from noise level 7.25 instead of 14.6")])
def test_what_was_sampled_otherwise_is_said(remembered, kind, words, caplog):
    """A model, prompt or sampler of its own may be all that moves a score."""
    usual = remembered([float(value) for value in range(1, 20)], 19)
    alike, other = remembered([30.0], 20), remembered([31.0], 21, **kind)
    _, table, report, *_ = flag({"samples": torch.cat([alike["samples"], other["samples"]])}, usual)
    assert report.settings["sampled_unlike_references"] == [words] and report.flagged == [True, True]
    assert f"Sampled otherwise than every reference: {words}. The rate" in table and words in caplog.text
    from mental_averages.dma.figures import read_report

    assert read_report(report.to_json()).settings == report.settings
    # Of references of several kinds any may be the like.
    mixed = {"samples": torch.cat([usual["samples"], remembered([4.0], 22, **kind)["samples"]])}
    found = flag({"samples": torch.cat([alike["samples"], other["samples"]])}, mixed)
    assert "sampled_unlike_references" not in found[2].settings and "otherwise" not in found[1]


def test_ways_that_no_reference_has_together_are_said(remembered):
    """Each is that of a reference, but of another one."""
    usual = torch.cat([remembered([float(value) for value in range(1, 20)], 23)["samples"],
                       remembered([2.5], 24, guidance=7.5, sampler="dpmpp_2m")["samples"]])
    latents = torch.cat([remembered([3.5], 25)["samples"], remembered([4.5], 26, guidance=7.5)["samples"],
                         remembered([5.5], 27, guidance=7.5, sampler="dpmpp_2m")["samples"]])
    _, table, report, *_ = flag({"samples": latents}, {"samples": usual})
    assert report.settings["sampled_unlike_references"] == ["2 in ways that no reference has together"]
    assert "Sampled otherwise than every reference: 2 in ways that" in table


@pytest.mark.parametrize("samples, complaint", [
    (torch.zeros(0, 4, 8, 8), "latents is an empty batch"),
    (torch.full((1, 4, 8, 8), torch.nan), "The input latents contains NaN")])
def test_bad_batches(remembered, samples, complaint):
    with pytest.raises(ValueError, match=complaint):
        flag({"samples": samples}, remembered([1.0] * 19, 12))
