"""SamenessMeter on the demo model: its samples are core's, its numbers those of its samples, and what is refused."""
import pytest
import torch
from encoder_folders import write_clip, write_dinov2
from loaded_encoders import ClipVision, encoders_in, loaded_encoder
from small_models import MODELS
from stopping import Calls, saved_states, untouched

import pack
from mental_averages.dma import figures
from mental_averages.dma.encoders import unit_embeddings
from mental_averages.dma.metrics import sameness

PROMPTS, COUNT, STEPS, CFG, SEED = "red heart\n\n  cat face \n", 4, 4, 4.0, 3


def measure(models, prompts=PROMPTS, **change):
    from mental_averages.nodes.metrics import SamenessMeter

    arguments = dict(negative_prompt="", latent_image={"samples": torch.zeros(1, 4, 8, 8)}, count=COUNT, steps=STEPS,
                     cfg=CFG, scheduler="normal", seed=SEED, resume=False)
    with torch.inference_mode():
        return SamenessMeter.execute(*models, prompts, **{**arguments, **change}).args


def by_core(models, prompt, negative=""):
    """Latents and pictures of core's own nodes."""
    import nodes

    model, clip, vae = models
    with torch.inference_mode():
        texts = [pack.encode_prompt(clip, text) for text in (prompt, negative)]
        (latent,) = nodes.common_ksampler(model, SEED, STEPS, CFG, "ddim", "normal", *texts,
                                          {"samples": torch.zeros(COUNT, 4, 8, 8)})
        return model.model.process_latent_in(latent["samples"]), nodes.VAEDecode().decode(vae, latent)[0]


@pytest.mark.parametrize("negative", ["", "blue"])
def test_numbers_and_pictures_are_those_of_a_ksamplers_samples(demo, negative):
    table, samples, report = measure(demo, negative_prompt=negative)
    expected = [by_core(demo, prompt, negative) for prompt in ("red heart", "cat face")]
    torch.testing.assert_close(samples, torch.cat([pictures for _, pictures in expected]), rtol=0, atol=0.02)
    assert [found.prompt for found in report.prompts] == ["red heart", "cat face"]
    for found, (latents, _) in zip(report.prompts, expected):
        assert (found.sameness, found.low, found.high) == pytest.approx(sameness(latents.flatten(1)), abs=2e-3)
    assert report.settings["source"] == "latents" and report.settings["count"] == COUNT and report.seconds > 0
    assert table.shape[0] == 1 and table.shape[1] > 2 * 128 and table.std() > 0.05
    assert figures.read_report(report.to_json()) == report
    assert figures.plot(report).shape[2] == 1024


def test_clip_vision(demo):
    _, samples, report = measure(demo, clip_vision=ClipVision())
    for found, pictures in zip(report.prompts, samples.split(COUNT)):
        expected = sameness(unit_embeddings(pictures, lambda rows: ClipVision().encode_image(rows)["image_embeds"]))
        assert (found.sameness, found.low, found.high) == pytest.approx(expected)
    assert report.settings["source"] == "clip_vision"


@pytest.mark.parametrize("write", [write_clip, write_dinov2])
def test_encoders_of_the_pack(demo, write, tmp_path):
    write(tmp_path / "encoder")
    with encoders_in(tmp_path):
        report = measure(demo, "cat face", image_encoder=loaded_encoder("encoder"))[2]
    assert -1 <= report.prompts[0].low < report.prompts[0].high <= 1 and "encoder" in report.settings["source"]


def test_micro_batches_change_nothing(demo):
    whole, parts = (measure(demo, batch_size=size)[2].prompts for size in (4, 1))
    for one, other in zip(whole, parts):
        assert one.sameness == pytest.approx(other.sameness, abs=1e-4)


def test_higher_guidance_towards_one_thing_and_a_push_show(demo):
    """Samples of the model are less alike than those that are pushed towards their average."""
    from mental_averages.nodes.steering import TypicalityGuidance

    average = {"samples": by_core(demo, "cat face")[0].mean(0, keepdim=True) / 0.18215}

    def pushed(strength):
        with torch.inference_mode():
            return TypicalityGuidance.execute(demo[0], average, strength, 0.0, 0.8).args[0], *demo[1:]

    found = [measure(pushed(strength), "cat face")[2].prompts[0].sameness for strength in (-0.6, 0.0, 0.6)]
    assert found == sorted(found, reverse=True) and found[0] > found[2] + 0.05


def test_latents_of_one_frame_are_measured(built):
    """A model that takes pictures as videos, and a VAE that gives them back as such."""
    model = built("Qwen-Image")

    class Clip:
        def tokenize(self, text):
            return len(text)

        def encode_from_tokens_scheduled(self, tokens):
            return MODELS["Qwen-Image"].conditioning(tokens)

    class Vae:
        latent_channels = 16

        def decode(self, samples):
            assert samples.ndim == 5
            return samples[:, :3].movedim(1, -1).sigmoid()  # (B, 1, H, W, 3)

    _, samples, report = measure((model, Clip(), Vae()), "a\nbb", latent_image={"samples": torch.zeros(1, 16, 8, 8)})
    assert samples.shape == (2 * COUNT, 8, 8, 3) and len(report.prompts) == 2


def test_progress_goes_on_from_prompt_to_prompt(demo, monkeypatch):
    from mental_averages.nodes.metrics import _sameness_meter

    told = []
    monkeypatch.setattr(_sameness_meter, "ProgressReporter", lambda model, title: told.append)
    measure(demo)
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1)
    assert told[0].message.startswith("prompt 1 of 2, sampling") and told[-1].message.startswith("prompt 2 of 2")


@pytest.mark.parametrize("change, complaint", [
    (dict(prompts=""), "prompts is empty"), (dict(prompts=" \n\n"), "prompts is empty"),
    (dict(prompts="cat\ndog\ncat "), "'cat' more than once"),
    (dict(prompts="\n".join(map(str, range(101)))), "101 lines, but at most 100"),
    (dict(count=1), "count is 1"), (dict(count=2), "count is 2"), (dict(steps=0), "steps is 0"),
    (dict(clip_vision=ClipVision(), image_encoder=object()), "both connected"),
    (dict(latent_image={"samples": torch.ones(1, 16, 8, 8)}), "16 channels"),
    (dict(latent_image={"samples": torch.zeros(1, 4, 3, 8, 8)}), "video"),
    (dict(cfg=float("nan")), "cfg"), (dict(scheduler="none"), "scheduler")])
def test_bad_inputs_are_refused_before_anything_is_sampled(demo, change, complaint):
    with pytest.raises(ValueError, match=complaint):
        measure((untouched(demo[0]), *demo[1:]), **change)


def test_a_missing_clip_or_vae_and_one_of_another_model_are_refused_before_anything_is_sampled(demo):
    class OtherVae:
        latent_channels = 16

    model, clip, vae = untouched(demo[0]), *demo[1:]
    for models, complaint in (((model, None, vae), "no CLIP: connect one"), ((model, clip, None), "no VAE: connect"),
                              ((model, clip, OtherVae()), "16 channels, but those of the model have 4")):
        with pytest.raises(ValueError, match=complaint):
            measure(models)


def test_identical_samples_are_told_with_their_prompt(demo):
    class Black:
        latent_channels = 4

        def decode(self, samples):
            return torch.zeros(len(samples), 64, 64, 3)

    class One(ClipVision):
        def encode_image(self, pictures):
            return {"image_embeds": torch.ones(len(pictures), 4)}

    with pytest.raises(ValueError, match="Prompt 1 of 2, 'red heart': Its samples cannot be compared. All 4 samples"):
        measure((demo[0], demo[1], Black()), clip_vision=One())


class Failing:
    """A VAE that gives NaN for the pictures of the call with this number."""

    latent_channels = 4

    def __init__(self, vae, call):
        self.vae, self.call, self.calls = vae, call, 0

    def decode(self, samples):
        self.calls += 1
        return self.vae.decode(samples) * (torch.nan if self.calls == self.call else 1)


def test_a_prompt_that_fails_is_named_and_the_others_are_not_drawn_again(demo, folders):
    model, clip, vae = demo
    calls, prompts = Calls(model), "red heart\ncat face\nblue ball"
    drawing, expected = calls.during(measure, (calls.model, clip, vae), prompts, batch_size=1)
    with pytest.raises(ValueError, match="Prompt 3 of 3, 'blue ball': The pictures contain NaN.* are kept"):
        measure((calls.model, clip, Failing(vae, 3)), prompts, resume=True, batch_size=1)
    states = saved_states(folders)
    assert [state["step"] for state in states.values()] == [STEPS] * 3
    count, found = calls.during(measure, (calls.model, clip, vae), prompts, resume=True, batch_size=1)
    assert count == 3 * 2 * STEPS < drawing, "who the model is, is asked at each level, and nothing is drawn"
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
    assert found[2].prompts == expected[2].prompts and found[2].seconds > sum(
        state["seconds"] for state in states.values())
    # What is kept is of the prompt, whatever stands beside it in the list, and of the choices that samples depend on.
    for change, drawn in ((dict(clip_vision=ClipVision()), False), (dict(seed=SEED + 1), True),
                          (dict(count=COUNT + 1), True), (dict(negative_prompt="blue"), True)):
        count = calls.during(measure, (calls.model, clip, vae), "cat face", resume=True, batch_size=1, **change)[0]
        assert count - 2 * STEPS == drawn * (drawing / 3 * change.get("count", COUNT) / COUNT), change


@pytest.mark.parametrize("end", ["interrupt", "error"])
def test_an_interrupted_prompt_goes_on_at_its_step(demo, folders, end):
    model, clip, vae = demo
    calls = Calls(model)
    drawing, expected = calls.during(measure, (calls.model, clip, vae), resume=False, batch_size=1)
    asking = 2 * 2 * STEPS  # who the model is, of both prompts
    stopped = calls.stop_when(lambda number: number > asking + 0.9 * drawing, end)
    with pytest.raises(stopped):
        measure((calls.model, clip, vae), resume=True, batch_size=1)
    assert sorted(state["step"] for state in saved_states(folders).values()) == [STEPS - 1, STEPS]
    left, found = calls.during(measure, (calls.model, clip, vae), resume=True, batch_size=1)
    assert left == asking + drawing / 2 / STEPS
    assert torch.equal(found[1], expected[1]) and found[2].prompts == expected[2].prompts


def test_pictures_are_kept_small_and_only_as_many_as_are_shown(demo, monkeypatch):
    """Of 12 pictures of 64 pixels with room for 3: all of them smaller; the table is as it was."""
    from mental_averages.nodes.metrics import _sameness_meter

    table, samples, report = measure(demo, count=12, prompts="red heart")
    monkeypatch.setattr(_sameness_meter, "MOST_PIXELS", 3 * samples.shape[1] * samples.shape[2])
    monkeypatch.setattr(_sameness_meter, "AT_ONCE", 5)
    small_table, small, again = measure(demo, count=12, prompts="red heart")
    assert small.shape == (12, 32, 32, 3) == (12, samples.shape[1] // 2, samples.shape[2] // 2, 3)
    torch.testing.assert_close(small_table, table, rtol=0, atol=0.02)
    assert again.prompts[0].sameness == pytest.approx(report.prompts[0].sameness, abs=1e-4)
    coarse = torch.nn.functional.avg_pool2d(samples.movedim(-1, 1), 2).movedim(1, -1)
    assert (small - coarse).abs().mean() < 0.02 and (small - coarse.flip(0)).abs().mean() > 0.05


def test_no_more_than_a_part_of_the_pictures_is_in_memory_at_once(demo, monkeypatch):
    """100 prompts of large pictures are 40 GB: what is kept must not grow with them."""
    from mental_averages.nodes.metrics import _sameness_meter

    class Large:
        latent_channels, alive = 4, []

        def decode(self, samples):
            import weakref

            pictures = torch.rand(len(samples), 512, 512, 3)
            self.alive = [kept for kept in self.alive if kept() is not None]
            assert not self.alive, "pictures of an earlier prompt are still in memory"
            self.alive.append(weakref.ref(pictures.untyped_storage()))
            return pictures

    monkeypatch.setattr(_sameness_meter, "MOST_PIXELS", 2**16)
    _, samples, _ = measure((demo[0], demo[1], Large()), "\n".join("abcd"))
    assert samples.shape[0] == 4 * COUNT and samples.shape[1] * samples.shape[2] * len(samples) <= 2**16
