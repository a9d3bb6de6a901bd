"""TrainModeEmbedding: on small models of SD1.5 and SDXL with small text encoders, and on the demo model."""
import copy
from types import SimpleNamespace

import pytest
import torch
from embeddings import content, encode, losses_on_fixed_noise, slopes, small_clip, train
from stopping import Calls, untouched

import pack


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def ksampler(model, positive):
    import nodes

    empty = {"samples": torch.zeros(1, 4, 8, 8)}
    with torch.inference_mode():
        return nodes.common_ksampler(model, 5, 2, 1.0, "euler", "normal", positive, positive, empty)[0]["samples"]


@pytest.mark.parametrize("name", ["SD1.5", "SDXL"])
def test_training_lowers_the_loss_and_leaves_everything_as_it_was(case, embeddings, name):
    made = case(name)
    parts = (made["model"].model, made["clip"].cond_stage_model)
    weights = {key: value.clone() for part in parts for key, value in part.state_dict().items()}
    start = encode(made["clip"], "a photo of castle castle")
    before = losses_on_fixed_noise(made, start)
    picture, directory = ksampler(made["model"], start), vars(made["clip"].tokenizer)["clip_l"].embedding_directory
    change = dict(steps=40, batch_size=4, vectors=2, learning_rate=0.03)
    text, conditioning, loss, report = train(made, **change, preview_interval=20)
    gained = before - losses_on_fixed_noise(made, conditioning)
    assert gained.mean() > 0.002 * before.mean() and gained.mean() > 3 * gained.std() / len(gained) ** 0.5
    assert text == "embedding:mode" and len(loss["loss"]) == 40 and report.losses == loss["loss"]
    assert report.settings["latents"] == 3 and report.settings["vectors"] == 2
    assert type(report).from_json(report.to_json()) == report
    expected = encode(made["clip"], f"a photo of {text}")
    assert torch.equal(conditioning[0][0], expected[0][0]) and conditioning[0][1].keys() == expected[0][1].keys()
    assert torch.equal(conditioning[0][1]["pooled_output"], expected[0][1]["pooled_output"])
    assert not conditioning[0][0].requires_grad

    for part in parts:
        assert all(torch.equal(value, weights[key]) for key, value in part.state_dict().items())
    assert torch.equal(encode(made["clip"], "a photo of castle castle")[0][0], start[0][0])
    assert torch.equal(ksampler(made["model"], start), picture)
    assert vars(made["clip"].tokenizer)["clip_l"].embedding_directory is directory

    torch.manual_seed(3)  # the global generator plays no part
    train(made, **change, name="again", resume=False)
    assert (same(content(embeddings, "again"), content(embeddings))
            and list(content(embeddings)) == sorted(content(embeddings)))
    train(made, **{**change, "seed": 6, "steps": 3}, name="other", resume=False)
    assert not same(content(embeddings, "other"), content(embeddings))
    assert not [path for path in embeddings.rglob("*") if path.suffix not in (".safetensors", "")]


def test_the_file_says_where_it_is_from(case, embeddings, monkeypatch):
    import json

    import comfy.cli_args
    from safetensors import safe_open

    made = case("SDXL")
    train(made, name="sub/mode", vectors=3)
    with safe_open(embeddings / "sub" / "mode.safetensors", framework="pt") as file:
        assert set(file.keys()) == {"clip_l", "clip_g"} and file.get_tensor("clip_g").shape == (3, 10)
        settings = json.loads(file.metadata()["settings"])
    assert settings["template"] == "a photo of {}" and settings["steps"] == 4 and settings["seed"] == 5
    monkeypatch.setattr(comfy.cli_args.args, "disable_metadata", True)
    train(made, name="quiet")
    with safe_open(embeddings / "quiet.safetensors", framework="pt") as file:
        assert not file.metadata()


@pytest.mark.parametrize("end", ["interrupt", "error"])
def test_interrupted_and_resumed_equals_uninterrupted(case, embeddings, end):
    made = {**case("SDXL"), "steps": 6, "batch_size": 2}
    calls = Calls(made["model"])
    made["model"] = calls.model

    def calls_of(**other):
        return calls.during(train, made, **other)

    expected = train(made, name="expected", resume=False)
    start = encode(made["clip"], "castle")
    picture = ksampler(made["model"], start)
    # What is asked of the network before the first step, seen where there is nothing left to do; a step is one call.
    first, _ = calls_of(name="first", seed=8, steps=1)
    around, _ = calls_of(name="first", seed=8, steps=1)
    assert first == around + 1
    with pytest.raises(calls.stop_when(lambda count: count == around + 5, end)):
        train(made)
    assert not (embeddings / "mode.safetensors").exists() and not torch.is_inference_mode_enabled()
    assert (torch.equal(ksampler(made["model"], start), picture)
            and torch.equal(encode(made["clip"], "castle")[0][0], start[0][0]))
    assert any(parameter.is_inference() for parameter in made["clip"].cond_stage_model.parameters())
    left, resumed = calls_of()
    assert same(content(embeddings), content(embeddings, "expected")) and resumed[2] == expected[2]
    assert torch.equal(resumed[1][0][0], expected[1][0][0])
    assert left == around + 2, "the fifth step and the sixth"

    # Queued again: the file is this training's own, so it is neither an obstacle nor written again.
    written = (embeddings / "mode.safetensors").stat().st_mtime_ns
    again, found = calls_of()
    assert found[2] == expected[2] and again == around
    assert (embeddings / "mode.safetensors").stat().st_mtime_ns == written
    again, found = calls_of(name="copy")
    assert found[2] == expected[2] and again == around
    with pytest.raises(ValueError, match="an embedding 'mode' already"):
        train(made, steps=7)
    assert calls_of(steps=7, overwrite=True)[0] == around + 1, "the seventh step alone"
    assert not same(content(embeddings), content(embeddings, "copy"))


def test_core_frees_memory_for_no_more_latents_than_a_pass_takes(case, monkeypatch):
    import comfy.sampler_helpers

    prepare, counts = comfy.sampler_helpers.prepare_sampling, []

    def noted(model, noise_shape, *arguments, **options):
        counts.append(noise_shape[0])
        return prepare(model, noise_shape, *arguments, **options)

    monkeypatch.setattr(comfy.sampler_helpers, "prepare_sampling", noted)
    train(case("SD1.5"), steps=1, batch_size=100)
    assert counts == [4 * 64]


def test_a_name_that_is_taken_is_refused_and_nothing_is_lost(case, embeddings):
    made = case("SD1.5")
    kept = embeddings / "mode.safetensors"
    kept.write_bytes(b"somebody's work")
    refuse(made, "There is an embedding 'mode' already")
    refuse(made, "There is an embedding 'mode' already", resume=False)
    refuse(made, "There is an embedding 'mode' already", name=" mode.safetensors ")
    (embeddings / "old.pt").write_bytes(b"another's")
    (embeddings / "sub").mkdir()
    (embeddings / "sub" / "deep.safetensors").write_bytes(b"a third's")
    for overwrite in (False, True):
        refuse(made, "embedding:old is read from .*old.pt", name="old", overwrite=overwrite)
        refuse(made, "embedding:deep is read from .*deep.safetensors", name="deep", overwrite=overwrite)
    assert kept.read_bytes() == b"somebody's work"


def test_a_file_of_its_own_that_was_cut_short_is_taken(case, embeddings, bridge):
    """Told before anything is computed, and where it was cut short meanwhile."""
    made, path = case("SD1.5"), embeddings / "mode.safetensors"
    train(made)
    whole, vectors = path.read_bytes(), copy.deepcopy(content(embeddings))  # they lie in the file
    path.write_bytes(whole[:-4])
    refuse(made, "There is an embedding 'mode' already")
    with pytest.raises(ValueError, match="There is an embedding 'mode' already"):
        bridge.write_embedding("mode", path, {"clip_l": torch.zeros(1, 8)}, {}, False)
    assert path.read_bytes() == whole[:-4]
    train(made, overwrite=True)
    assert same(content(embeddings), vectors)


@pytest.mark.parametrize("name",
                         ["../mode", "a/../../mode", "/tmp/mode", "..", "", ".hidden", "my mode", "mode,", "a:b", "a/",
                          "(mode)", "a//b", "x[1]", "a\\b", "mode."])
def test_names_that_leave_the_folder_or_cannot_be_read_are_refused(embeddings, name):
    # None of these inputs is looked at before the name is.
    others = dict(dict.fromkeys(("model", "clip", "latents")), initial_text="castle", template="a {}", vectors=1)
    refuse({**others, "steps": 4, "learning_rate": 1e-2, "seed": 0}, "cannot be the name", name=name)


def test_what_the_widgets_say_is_checked_when_the_graph_is_queued(embeddings):
    from mental_averages.nodes.training import TrainModeEmbedding

    good = dict(name="mode", initial_text="castle", template="a {}")
    assert TrainModeEmbedding.validate_inputs(**good) is True
    for name, value, message in (("name", "../mode", "cannot be the name"), ("name", "my mode", "cannot be the name"),
                                 ("name", "", "cannot be the name"),
                                 ("initial_text", " ", "initial text is empty"),
                                 ("template", "a photo", "has 0 placeholders"),
                                 ("template", "{} {}", "has 2 placeholders")):
        assert message in TrainModeEmbedding.validate_inputs(**{**good, name: value})
        assert TrainModeEmbedding.validate_inputs(**{**good, name: None}) is True, "linked: not known yet"
    # It may be of the training that is queued.
    (embeddings / "mode.safetensors").write_bytes(b"somebody's work")
    assert TrainModeEmbedding.validate_inputs(**good) is True and TrainModeEmbedding.validate_inputs() is True


def test_a_link_out_of_the_folder_is_not_followed(case, embeddings, folders):
    (embeddings / "elsewhere").symlink_to(folders / "output")
    refuse(case("SD1.5"), "cannot be the name", name="elsewhere/mode")


def test_texts_and_numbers_that_make_no_sense_are_refused(case, embeddings):
    made = case("SD1.5")
    for text in ("", "  \n"):
        refuse(made, "initial text is empty", initial_text=text)
    refuse(made, "initial text '\\(\\)' has no tokens", initial_text="()")
    refuse(made, "has 0 placeholders", template="a photo")
    refuse(made, "has 2 placeholders", template="{} and {}")
    refuse(made, "would not be read as an embedding", template=r"\({}\)")
    for count in (0, 17):
        refuse(made, f"vectors is {count}", vectors=count)
    refuse(made, "steps is 0", steps=0)
    refuse(made, "learning_rate is 0", learning_rate=0.0)
    refuse(made, "batch_size is 0", batch_size=0)
    refuse(made, "is empty \\(all zero\\)", latents={"samples": torch.zeros(1, 4, 8, 8)})
    refuse(made, "NaN or infinity", latents={"samples": torch.full((1, 4, 8, 8), float("inf"))})
    refuse(made, "carries an inpainting mask",
           latents={**made["latents"], "noise_mask": torch.ones(1, 8, 8)})
    assert not list(embeddings.iterdir())


def test_models_that_do_not_belong_together_are_refused(case, embeddings):
    import comfy.hooks
    from comfy.text_encoders import sd3_clip

    made = case("SD1.5")
    wide = small_clip("SDXL", embeddings)
    made["model"].model.model_config.unet_config["context_dim"] = 768
    refuse(made, "gives 16 numbers per token, but the model reads 768", clip=wide)
    tokenizer = SimpleNamespace(clip_l=wide.tokenizer.clip_l,
                                t5xxl=sd3_clip.T5XXLTokenizer.__new__(sd3_clip.T5XXLTokenizer))
    other = SimpleNamespace(patcher=wide.patcher, tokenizer=tokenizer)
    refuse(made, "SDXLClipModel.* is not that of SD1.5 or SDXL", clip=other)
    hooked = wide.clone()
    hooked.patcher.forced_hooks = comfy.hooks.HookGroup()
    refuse(made, "changed by a scheduled LoRA", clip=hooked)


def test_a_full_disk_costs_nothing_but_the_file(case, embeddings, monkeypatch):
    import os

    def full(*paths):
        raise OSError(28, "No space left on device")

    made = case("SD1.5")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ValueError, match="No space left.*nothing is trained twice"):
        train(made, resume=False)
    assert not list(embeddings.iterdir())
    monkeypatch.undo()
    assert os.replace is not full


def refuse(case, message, **change):
    model = case["model"] and untouched(case["model"])
    with pytest.raises(ValueError, match=message):
        train({**case, "model": model}, **change)


def test_the_demo_model(demo, embeddings, monkeypatch):
    """Its text encoder is of full size and in half precision, and adds a token's vector to that of its position."""
    model, clip, vae = demo
    monkeypatch.setattr(clip.tokenizer.clip_l, "embedding_directory", [str(embeddings)])
    axis = torch.linspace(-1, 1, 64)
    discs = torch.stack([((axis[:, None].square() + axis[None].square()).sqrt() < size).float() for size in (0.5, 0.6)])
    with torch.inference_mode():
        latents = {"samples": vae.encode(discs[..., None] * torch.tensor([0.9, 0.2, 0.1]))}
    case = dict(model=model, clip=clip, latents=latents, name="disc", initial_text="red heart", vectors=2,
                template="{}", steps=4, learning_rate=1e-2, seed=0, batch_size=4)
    ((by_gradient, by_difference),) = slopes(case, "{} emoji", 1e-2)
    assert by_gradient == pytest.approx(by_difference, rel=5e-3)
    plain = pack.encode_prompt(clip, "red heart")
    before, picture = losses_on_fixed_noise(case, plain), ksampler(model, plain)
    text, conditioning, _, _ = train(case)
    assert losses_on_fixed_noise(case, conditioning).mean() < before.mean()
    assert torch.equal(encode(clip, text)[0][0], conditioning[0][0])
    assert (torch.equal(ksampler(model, plain), picture)
            and torch.equal(pack.encode_prompt(clip, "red heart")[0][0], plain[0][0]))
    assert not torch.equal(ksampler(model, encode(clip, text)), picture)
