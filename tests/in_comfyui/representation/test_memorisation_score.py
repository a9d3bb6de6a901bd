"""MemorisationScore on small models of ComfyUI's own classes: against scores written out, and what is refused."""
import pytest
import torch
from bars import Bar
from controls import controlled
from core_predictions import with_option
from pictures import check_picture
from small_models import MODELS
from stopping import Calls, untouched

RATE = 0.25  # needs 3 references


def latents(count, seed=0, shape=(4, 8, 8), scale=1.0):
    return {"samples": scale * torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))}


def scored(model, pictures, references, prompt=None, **change):
    from mental_averages.nodes.representation import MemorisationScore

    arguments = {**dict(score="deviation", false_positive_rate=RATE, layers="", levels="0.9", pooling="maximum",
                        draws=2, seed=3, batch_size=2, resume=False), **change}
    with torch.inference_mode():
        return MemorisationScore.execute(model, prompt or MODELS["SD1.5"].conditioning(1), pictures, references,
                                         **arguments).args


@pytest.mark.parametrize("name, shape, layer", [("SD1.5", (4, 8, 8), "output_blocks.0"),
                                                ("SD3", (16, 8, 8), "joint_blocks.1")])
@pytest.mark.parametrize("pooling", ["maximum", "mean"])
def test_scores_are_those_written_out(built, bridge, name, shape, layer, pooling):
    from mental_averages.dma.diffusion import add_noise
    from mental_averages.dma.representation import reading_noise

    model, prompt, pictures = built(name), MODELS[name].conditioning(1), latents(2, 1, shape)
    figure, table, report, flagged = scored(model, pictures, latents(4, 2, shape), prompt, pooling=pooling)
    sigma = float(model.get_model_object("model_sampling").percent_to_sigma(0.9))
    noise = reading_noise(2, shape, 3)

    def read(denoiser):
        rows = []
        for clean in model.model.process_latent_in(pictures["samples"]):
            noisy = torch.cat([add_noise(denoiser.parametrization, clean[None], draw[None], sigma) for draw in noise])
            maps = denoiser.features(noisy, sigma)
            rows.append((maps.amax((2, 3)) if pooling == "maximum" else maps.mean((2, 3))).mean(0))
        return torch.stack(rows)

    features = bridge.with_denoiser(model, prompt, prompt, 1.0, torch.tensor([sigma, 0.0]), shape, 0, read, layer=layer)
    assert report.settings["layers"] == [layer] and report.settings["sigmas"] == [sigma]
    by_name = {each.name: each for each in report.scores}
    assert list(by_name) == ["deviation", "norm", "spikiness"]
    assert by_name["deviation"].scores == pytest.approx(features.std(1, correction=0).tolist(), rel=1e-3)
    assert by_name["norm"].scores == pytest.approx(features.norm(dim=1).tolist(), rel=1e-3)
    check_picture(figure, 1024)
    assert flagged == any(report.flagged) and table == report.table() and len(by_name["norm"].references) == 4


def test_what_the_prompt_changes(demo, prompts):
    from mental_averages.dma.diffusion import add_noise
    from mental_averages.dma.representation import reading_noise
    from mental_averages.nodes import comfyui

    model, clip, _ = demo
    pictures, empty = latents(3, 1), prompts[1]
    found = scored(model, pictures, latents(3, 2), empty, score="guidance", clip=clip,
                   prompts="cat face\nhouse\ncat face", reference_prompts="tree", guidance_levels="0.3, 0.6",
                   draws=1)[2]
    assert found.chosen.name == "guidance" and len(found.scores) == 5 and len(found.settings["guidance_sigmas"]) == 2
    clean = comfyui.latents_into_model(model, pictures["samples"])
    for row, prompt in enumerate(["cat face", "house", "cat face"]):
        def ask(denoiser, row=row):
            norms = []
            for sigma in found.settings["guidance_sigmas"]:
                x = add_noise(denoiser.parametrization, clean[row][None], reading_noise(1, (4, 8, 8), 3), sigma)
                # At guidance 2 the prediction is as far from that at 1 as this is from that without the prompt.
                change = denoiser.with_guidance(2.0).denoise(x, sigma) - denoiser.denoise(x, sigma)
                norms.append(change.norm() / sigma)
            return (sum(norms) / 2 / 16).item()

        with torch.inference_mode():
            expected = comfyui.with_denoiser(model, comfyui.encoded(clip, prompt), empty, 1.0,
                                             torch.tensor([*found.settings["guidance_sigmas"], 0.0]), (4, 8, 8), 3, ask,
                                             layer=None, gradients=False)
        assert found.chosen.scores[row] == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("told", [True, False])
def test_how_well_the_model_knows_a_picture(demo, prompts, told):
    """By its loss, with the picture's own prompt, or with the empty one where there are none."""
    from mental_averages.dma.diffusion import add_noise
    from mental_averages.dma.representation import reading_noise
    from mental_averages.nodes import comfyui

    model, clip, _ = demo
    pictures, empty = latents(3, 1), prompts[1]
    words = dict(clip=clip, prompts="cat face\nhouse\ncat face", reference_prompts="tree") if told else {}
    found = scored(model, pictures, latents(3, 2), empty, score="fit", guidance_levels="0.3, 0.6", draws=1, **words)[2]
    sigmas = found.settings["guidance_sigmas"]
    assert [each.name for each in found.scores] == ["fit", "deviation", "norm", "spikiness", *["guidance"] * told]
    clean = comfyui.latents_into_model(model, pictures["samples"])
    for row, prompt in enumerate(["cat face", "house", "cat face"]):
        def ask(denoiser, row=row):
            losses = []
            for sigma in sigmas:
                x = add_noise(denoiser.parametrization, clean[row][None], reading_noise(1, (4, 8, 8), 3), sigma)
                losses.append(((denoiser.denoise(x, sigma) - clean[row]) / sigma).square().mean())
            return -(sum(losses) / 2).item()

        with torch.inference_mode():
            positive = comfyui.encoded(clip, prompt) if told else empty
            expected = comfyui.with_denoiser(model, positive, empty, 1.0, torch.tensor([*sigmas, 0.0]), (4, 8, 8), 3,
                                             ask, layer=None, gradients=False)
        assert found.chosen.scores[row] == pytest.approx(expected, rel=1e-2)


class Words:
    """A CLIP that knows two prompts."""

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, text):
        return MODELS["SD1.5"].conditioning({"red heart": 1, "house": 2}[text])


@pytest.mark.parametrize("hints", [1, 3])
def test_a_prompt_is_asked_with_all_that_the_empty_one_carries(built, hints):
    """Where the words are the same ones nothing is changed, whatever a ControlNet does with each picture."""
    empty = controlled(MODELS["SD1.5"].conditioning(1), hints=hints)  # red heart
    found = scored(built("SD1.5"), latents(3, 1), latents(3, 2), empty, score="guidance", clip=Words(), draws=1,
                   prompts="red heart\nhouse\nred heart", reference_prompts="house", guidance_levels="0.3, 0.6")[2]
    one, other, same = found.chosen.scores
    assert one == pytest.approx(0, abs=1e-5) and same == pytest.approx(0, abs=1e-5) and other > 1e-3


def test_a_prompt_that_is_not_active_where_predictions_are_asked_for_is_refused(built):
    """Core takes zeros for a prediction that no prompt is asked for; features are read where it is active."""
    prompt = with_option(MODELS["SD1.5"].conditioning(1), start_percent=0.5, end_percent=1.0)
    sets = latents(2, 1), latents(3, 2)
    assert scored(built("SD1.5"), *sets, prompt, score="fit", guidance_levels="0.5, 0.9")[2].scores
    with pytest.raises(ValueError, match="No part of the positive conditioning is active at noise level"):
        scored(untouched(built("SD1.5")), *sets, prompt, score="fit", guidance_levels="0.4, 0.9")


def test_the_bar_moves_while_predictions_are_asked_for(built, monkeypatch):
    bar = Bar(monkeypatch)
    scored(built("SD1.5"), latents(4, 1), latents(4, 2), score="fit", guidance_levels="0.3, 0.6", draws=1)
    # Features of both sets, then what is predicted of both: at two levels in two micro-batches.
    assert bar.shares[-8:] == [0.25, 0.5, 0.75, 1.0] * 2


def test_images_are_the_latents_that_the_vae_makes_of_them(demo, prompts):
    model, _, vae = demo
    images = torch.rand(5, 64, 64, 3, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        encoded = [{"samples": vae.encode(images[rows])} for rows in (slice(0, 2), slice(2, 5))]
    expected, found = (scored(model, *sets, prompts[1], vae=vae)[2] for sets in (encoded, (images[:2], images[2:])))
    assert found.chosen.scores == pytest.approx(expected.chosen.scores, rel=1e-3)
    assert found.chosen.references == pytest.approx(expected.chosen.references, rel=1e-3)


def test_what_is_far_from_the_references_is_flagged_and_kept_as_a_report(built):
    from mental_averages.nodes.figures import PlotReport

    model, usual = built("SD1.5"), latents(7, 2)
    figure, _, report, flagged = scored(model, usual, usual, false_positive_rate=0.125)
    assert not flagged and sum(report.flagged) == 0  # each is its own reference
    assert torch.equal(PlotReport.execute(report, 1024).args[0], figure)
    scores = torch.tensor(report.chosen.references)
    highest = int(scores.argmax())
    others = {"samples": usual["samples"][[row for row in range(7) if row != highest]]}
    assert scored(model, {"samples": usual["samples"][[highest]]}, others, false_positive_rate=0.15)[3] is True


def test_a_model_is_as_before_and_the_batch_does_not_matter(built):
    model = built("SD1.5")
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    first, second = (scored(model, latents(3, 1), latents(3, 2), batch_size=size)[2] for size in (1, 64))
    assert first.chosen.scores == pytest.approx(second.chosen.scores, rel=1e-4)
    assert all(torch.equal(before[name], value) for name, value in model.model.state_dict().items())
    assert not any(module._forward_hooks for module in model.model.diffusion_model.modules())


def test_it_goes_on_from_what_was_read(built, folders):
    calls, sets = Calls(built("SD1.5")), (latents(3, 1), latents(3, 2))
    first, found = calls.during(scored, calls.model, *sets, resume=True)
    again, same = calls.during(scored, calls.model, *sets, resume=True, score="norm", false_positive_rate=0.3)
    assert again < first
    assert next(each for each in same[2].scores if each.name == "deviation").scores == found[2].chosen.scores


def test_a_copy_is_no_reference_of_its_own(built):
    references = latents(3, 2)
    twice = {"samples": torch.cat([references["samples"], references["samples"][:2]])}
    found, expected = (scored(built("SD1.5"), latents(1, 1), each)[2] for each in (twice, references))
    assert found.chosen.references == pytest.approx(expected.chosen.references, rel=1e-4)
    with pytest.raises(ValueError, match="references holds 1 different picture, but .* needs at least 3"):
        scored(untouched(built("SD1.5")), latents(1, 1), {"samples": references["samples"][[0] * 5]})


@pytest.mark.parametrize("change, complaint", [
    (dict(references=latents(2, 2)), "references holds 2 pictures, .* at least 3: connect more, or choose 0.334"),
    (dict(pictures=torch.rand(1, 64, 64, 3)), "pictures holds images: connect the vae"),
    (dict(pictures={"samples": torch.zeros(0, 4, 8, 8)}), "empty batch"),
    (dict(references={"samples": torch.full((3, 4, 8, 8), torch.nan)}), "NaN"),
    (dict(pictures=latents(2, shape=(16, 8, 8))), "16 channels"),
    (dict(pictures=latents(2, shape=(4, 8, 6))), "pictures holds latents of 6 x 8, but references holds latents of 8"),
    (dict(layers="joint_blocks"), "No layer of this model fits 'joint_blocks'"),
    (dict(score="guidance"), "write prompts and reference_prompts, or choose one of deviation, norm, spikiness, fit"),
    (dict(score="loudness"), "score"), (dict(prompts="cat"), "There are prompts but no reference_prompts"),
    (dict(reference_prompts="cat"), "There are reference_prompts but no prompts"),
    (dict(prompts="cat", reference_prompts="cat"), "no clip to read them"),
    (dict(prompts="a\nb\nc", reference_prompts="cat"), "prompts has 3 lines, but pictures holds 2"),
    (dict(levels="2"), "not shares of sampling"), (dict(draws=0), "draws"), (dict(pooling="2x2"), "pooling"),
    (dict(false_positive_rate=0.9), "false_positive_rate")])
def test_bad_inputs_are_refused_before_the_model_is_asked(built, change, complaint):
    arguments = {**dict(pictures=latents(2, 1), references=latents(3, 2)), **change}
    with pytest.raises(ValueError, match=complaint):
        scored(untouched(built("SD1.5")), **arguments)


def test_a_clean_level_has_no_guidance(demo, prompts):
    with pytest.raises(ValueError, match="guidance_levels '0.5, 1' holds 1, a clean latent"):
        scored(untouched(demo[0]), latents(1, 1), latents(3, 2), prompts[1], clip=demo[1], prompts="cat",
               reference_prompts="cat", guidance_levels="0.5, 1")


def test_lines_of_prompts():
    from mental_averages.nodes.representation._memorisation_score import prompts_of

    assert prompts_of("a\n\nb", 3, "prompts", "pictures") == ["a", "", "b"]
    assert prompts_of("a\nb\n\n", 2, "prompts", "pictures") == ["a", "b"]
    # A single one is for all, however many empty lines are behind it.
    assert all(prompts_of("a" + ends * "\n", 2, "prompts", "pictures") == ["a", "a"] for ends in range(5))
    assert prompts_of("a\nb\n\n", 3, "prompts", "pictures") == ["a", "b", ""]
    assert prompts_of(" a \n", 2, "prompts", "pictures") == ["a", "a"] and prompts_of(" \n", 2, "", "") == []


def test_latents_that_were_sampled_otherwise_are_told_of(built, bridge, caplog):
    """As far as RecordPredictions knows; samples of other prompts are what is asked for."""
    model, pictures, references = built("SD1.5"), latents(2, 41), latents(4, 42)
    usual = dict(model="a", prompts="b", guidance=4.0, sampler="euler", steps=8, start=14.6)

    def remember(batch, **change):
        bridge.remember(batch["samples"], torch.ones(len(batch["samples"])), (0.5, 0.2),
                        bridge.SamplingKind(**{**usual, **change}))

    remember(references)
    _, table, report, _ = scored(model, pictures, references)
    assert "sampled_unlike_references" not in report.settings and table == report.table()
    remember(pictures, prompts="c")
    assert "sampled_unlike_references" not in scored(model, pictures, references)[2].settings
    remember({"samples": pictures["samples"][1:]}, sampler="dpmpp_2m", model="z")
    _, table, report, _ = scored(model, pictures, references)
    assert report.settings["sampled_unlike_references"] == ["2 by another model, LoRA or patch",
                                                    "2 by the sampler dpmpp_2m instead of euler"]
    assert "2 by the sampler dpmpp_2m instead of euler. The rate" in table and "dpmpp_2m" in caplog.text


def test_roundings_of_half_precision_are_not_taken_for_another_model(bridge, monkeypatch):
    """Kernels are chosen by size and free memory, so that one model's answers to one question differ by roundings."""
    from mental_averages.dma.models import fingerprint

    calls = []

    def wavering(*arguments):
        calls.append(1)
        return fingerprint(*arguments) * (1 + 2e-3 * (len(calls) % 2))

    monkeypatch.setattr("mental_averages.dma.representation._channel_means.fingerprint", wavering)
    report = scored(MODELS["SD1.5"].build(torch.bfloat16), latents(2, 51), latents(4, 52))[2]
    assert len(calls) == 2 and len(report.chosen.scores) == 2
    with pytest.raises(ValueError, match="read from different models"):
        scored(MODELS["SD1.5"].build(), latents(2, 51), latents(4, 52))


def test_a_picture_among_the_references_is_compared_with_the_others(built):
    model, references = built("SD1.5"), latents(4, 62)
    pictures = {"samples": torch.cat([latents(1, 61)["samples"], references["samples"][2:3]])}
    _, table, report, _ = scored(model, pictures, references, pooling="mean")
    assert report.settings["among_references"] == [2] and "2: among the references, too" in table
    others = {"samples": references["samples"][[0, 1, 3]]}
    expected = scored(model, pictures, others, pooling="mean")[2]
    assert report.chosen.percentiles[1] == expected.chosen.percentiles[1]
    assert report.flagged[1] == expected.flagged[1] and expected.cautions == []


def test_the_maximum_is_that_of_one_prompt(built):
    """Features of several are mixed after their maximum over space, which is not the maximum of the mixed ones."""
    prompt = [*MODELS["SD1.5"].conditioning(1), *MODELS["SD1.5"].conditioning(2)]
    model, pictures, references = built("SD1.5"), latents(1, 71), latents(4, 72)
    with pytest.raises(ValueError, match="positive is combined of 2 prompts, .* choose mean for pooling"):
        scored(model, pictures, references, prompt)
    assert len(scored(model, pictures, references, prompt, pooling="mean")[2].flagged) == 1
