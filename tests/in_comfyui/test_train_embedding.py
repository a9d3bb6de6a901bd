"""TrainModeEmbedding: on small models of SD1.5 and SDXL with small text encoders, and on the demo model."""
from types import SimpleNamespace

import pytest
import torch
from small_models import MODELS

import pack

LEVELS = torch.tensor([5.0, 0.0])


@pytest.fixture
def embeddings(folders, monkeypatch):
    """ComfyUI's folder of embeddings, and its temporary folder, in a temporary place."""
    import folder_paths

    folder = folders / "embeddings"
    folder.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "embeddings",
                        ([str(folder)], {".safetensors", ".pt", ".bin"}))
    monkeypatch.setattr(folder_paths, "temp_directory", str(folders / "temp"))
    return folder


def small_clip(name, embeddings):
    """A CLIP whose encoders have the real tokenizers and three small random layers each, made as core makes it."""
    import comfy.sd
    import comfy.sd1_clip
    import comfy.sdxl_clip

    def config(width):
        return {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 3, "num_attention_heads": 2}

    module, kind, widths = {"SD1.5": (comfy.sd1_clip, "SD1", {"clip_l": 16}),
                            "SDXL": (comfy.sdxl_clip, "SDXL", {"clip_l": 6, "clip_g": 10})}[name]
    target = SimpleNamespace(params={}, clip=getattr(module, f"{kind}ClipModel"),
                             tokenizer=getattr(module, f"{kind}Tokenizer"))
    options = {f"{encoder}_model_config": config(width) for encoder, width in widths.items()}
    with torch.inference_mode():
        clip = comfy.sd.CLIP(target, embedding_directory=[str(embeddings)],
                             model_options={**options, "dtype": torch.float32})
        generator = torch.Generator().manual_seed(0)
        for key, parameter in clip.cond_stage_model.named_parameters():
            if parameter.ndim == 2:
                scale = 0.3 if "embedding" in key else parameter.shape[1] ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            elif parameter.ndim == 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1 + float(key.endswith("weight")))
    return clip


def small_model(name):
    """A small MODEL on which prompts have much influence, as they have not on one with random weights."""
    model = MODELS[name].build(**({"adm_in_channels": 10 + 6 * 256} if name == "SDXL" else {}))
    with torch.inference_mode():
        for key, parameter in model.model.diffusion_model.named_parameters():
            if "attn2.to_out" in key or "label_emb" in key:
                parameter.mul_(5)
    return model


@pytest.fixture
def case(embeddings):
    """Inputs of the node that take little time, by the name of the kind of model."""
    def made(name):
        generator = torch.Generator().manual_seed(1)
        latents = 0.3 * torch.randn((1, 4, 1,
                                     1), generator=generator) + 0.05 * torch.randn((3, 4, 8, 8), generator=generator)
        return dict(model=small_model(name), clip=small_clip(name, embeddings), latents={"samples": latents / 0.18215},
                    name="mode", initial_text="castle", vectors=1, template="a photo of {}", steps=4,
                    learning_rate=1e-2, seed=5, preview_interval=0)

    return made


def train(case, **change):
    """(text, conditioning, loss, report) of the node, inside inference mode as ComfyUI runs it."""
    from mental_averages.nodes.training import TrainModeEmbedding

    with torch.inference_mode():
        return TrainModeEmbedding.execute(**{**case, **change}).args


def content(embeddings, name="mode"):
    from safetensors.torch import load_file

    return load_file(embeddings / f"{name}.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def encode(clip, text):
    import nodes

    with torch.inference_mode():
        return nodes.CLIPTextEncode().encode(clip, text)[0]


def ksampler(model, positive):
    import nodes

    empty = {"samples": torch.zeros(1, 4, 8, 8)}
    with torch.inference_mode():
        return nodes.common_ksampler(model, 5, 2, 1.0, "euler", "normal", positive, positive, empty)[0]["samples"]


def losses_on_fixed_noise(case, conditioning, shape=(4, 8, 8)):
    """The training loss (40,) under a CONDITIONING on noise that training does not see."""
    from mental_averages.dma import training
    from mental_averages.nodes import comfyui

    clean = comfyui.latents_into_model(case["model"], case["latents"]["samples"])
    settings = training.TrainingSettings(batch_size=20, seed=99)

    def measure(denoiser):
        loss = training.loss_on(clean, denoiser.parametrization, denoiser.device,
                                          denoiser.denoise_differentiably)
        draws = (training.draw(settings, step, len(clean), shape, denoiser.noise_levels())
                 for step in range(2))
        return torch.cat([loss(*drawn) for drawn in draws])

    return comfyui.with_denoiser(case["model"], conditioning, conditioning, 1.0, LEVELS, shape, 0, measure,
                                     layer=None)


def slopes(case, template, epsilon, save_memory=False):
    """For each encoder the derivative of a training loss along its gradient, by autograd and by central differences."""
    from mental_averages.dma import training
    from mental_averages.nodes import comfyui

    with torch.inference_mode(False), torch.no_grad():
        prompt = comfyui.prompt_with_vectors(case["clip"], template, 2)
        vectors = prompt.vectors("castle on a hill", 2)
        start = prompt.encode(vectors)
    clean = comfyui.latents_into_model(case["model"], case["latents"]["samples"])[:2]
    found = []

    def measure(denoiser):
        noise, sigma = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)), torch.tensor([5.0, 1.0])
        loss_now = training.loss_on(clean, denoiser.parametrization, denoiser.device,
                                              denoiser.denoise_differentiably)
        with comfyui.differentiable_encoding(prompt, save_memory) as encode:
            def loss(values):
                comfyui.set_positive(denoiser, encode(values), (4, 8, 8))
                return loss_now(torch.arange(2), noise, sigma).double().sum()

            leaves = [values.clone().requires_grad_() for values in vectors]
            with torch.enable_grad():
                gradients = torch.autograd.grad(loss(leaves), leaves)
            for place, gradient in enumerate(gradients):
                direction, ends = gradient / gradient.norm().clamp_min(1e-30), []
                for sign in (1, -1):
                    moved = list(vectors)
                    moved[place] = vectors[place] + sign * epsilon * direction
                    ends.append(loss(moved).item())
                found.append((gradient.norm().item(), (ends[0] - ends[1]) / (2 * epsilon)))

    positive = comfyui.loaded_with_model(prompt, start)
    comfyui.with_denoiser(case["model"], positive, start, 1.0, LEVELS, (4, 8, 8), 0, measure, layer=None,
                              save_memory=save_memory)
    return found


@pytest.mark.parametrize("name, template", [("SD1.5", "a photo of {}"), ("SDXL", "a photo of {}"),
                                            ("SDXL", "a (red:1.4) ({}:0.7), night")])
def test_gradient_equals_finite_differences(case, name, template):
    made = case(name)
    found = slopes(made, template, 1e-2)
    assert len(found) == {"SD1.5": 1, "SDXL": 2}[name]
    for by_gradient, by_difference in found:
        assert by_gradient > 5e-4 and by_gradient == pytest.approx(by_difference, rel=5e-3)
    checkpointed = slopes(made, template, 1e-2, save_memory=True)
    assert [gradient for gradient, _ in checkpointed] == pytest.approx([gradient for gradient, _ in found], rel=1e-4)


def test_gradient_of_the_pooled_text_is_part_of_it(case):
    """SDXL's second encoder reaches the model by its pooled output too: with tokens cut off from the model it is all
    there is."""
    made = case("SDXL")
    network = made["model"].model.diffusion_model
    with torch.inference_mode():
        for key, parameter in network.named_parameters():
            if "attn2.to_v" in key:
                parameter.zero_()
    first, second = slopes(made, "{}", 3e-3)
    assert first == (0.0, 0.0)
    assert second[0] > 1e-3 and second[0] == pytest.approx(second[1], rel=1e-2)


@pytest.mark.parametrize("name", ["SD1.5", "SDXL"])
@pytest.mark.parametrize("template",
                         ["a photo of {}", "{}", "old (red:1.3) ({}:0.8), castle at night", "word " * 72 + "{} end"])
def test_training_encodes_what_the_file_gives(case, embeddings, name, template):
    from mental_averages.nodes import comfyui

    made = case(name)
    with torch.inference_mode(False), torch.no_grad():
        prompt = comfyui.prompt_with_vectors(made["clip"], template, 3)
        vectors = [torch.randn(values.shape, generator=torch.Generator().manual_seed(2))
                   for values in prompt.vectors("a", 3)]
        start = prompt.encode(vectors)
        with comfyui.differentiable_encoding(prompt) as differentiable, torch.enable_grad():
            live = differentiable([values.clone().requires_grad_() for values in vectors])
    path = comfyui.embedding_path("castles/one.v1")
    content = dict(zip(comfyui.encoders(made["clip"]), vectors))
    comfyui.write_embedding("castles/one.v1", path, content, {"a": 1}, False)
    expected = encode(made["clip"], template.replace("{}", "embedding:castles/one.v1"))
    for found in (start, live):
        assert torch.equal(found[0][0], expected[0][0])
        assert torch.equal(found[0][1]["pooled_output"], expected[0][1]["pooled_output"])
    assert live[0][0].requires_grad and live[0][1].keys() == expected[0][1].keys()
    if name == "SDXL":
        assert live[0][1]["pooled_output"].requires_grad
    assert not torch.equal(encode(made["clip"], template.replace("{}", "castle"))[0][0][:, :77], expected[0][0][:, :77])


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


def test_vectors_start_at_the_initial_text(case, embeddings):
    """Repeated or cut to the number that is asked for; an earlier embedding is as good as words."""
    from mental_averages.nodes import comfyui

    made = case("SD1.5")
    table = made["clip"].cond_stage_model.clip_l.transformer.get_input_embeddings().weight
    ids = [token for token, _ in made["clip"].tokenize("red castle")["l"][0][1:3]]
    with torch.inference_mode(False), torch.no_grad():
        prompt = comfyui.prompt_with_vectors(made["clip"], "{}", 5)
        assert torch.equal(prompt.vectors("red castle", 5)[0], table[[ids[index % 2] for index in range(5)]])
        assert torch.equal(prompt.vectors("red castle", 1)[0], table[ids[:1]])
    train(made, vectors=3)
    with torch.inference_mode(False), torch.no_grad():
        assert torch.equal(prompt.vectors("red embedding:mode", 4)[0],
                           torch.cat([table[ids[:1]], content(embeddings)["clip_l"]]))


@pytest.mark.parametrize("end", ["interrupt", "error"])
def test_interrupted_and_resumed_equals_uninterrupted(case, embeddings, stop_training, end):
    made = {**case("SDXL"), "steps": 6, "batch_size": 2}
    expected = train(made, name="expected", resume=False)
    start = encode(made["clip"], "castle")
    picture = ksampler(made["model"], start)
    steps, stopped = stop_training(end)
    with pytest.raises(stopped):
        train(made)
    assert not (embeddings / "mode.safetensors").exists() and not torch.is_inference_mode_enabled()
    assert (torch.equal(ksampler(made["model"], start), picture)
            and torch.equal(encode(made["clip"], "castle")[0][0], start[0][0]))
    assert any(parameter.is_inference() for parameter in made["clip"].cond_stage_model.parameters())
    resumed = train(made)
    assert same(content(embeddings), content(embeddings, "expected")) and resumed[2] == expected[2]
    assert torch.equal(resumed[1][0][0], expected[1][0][0]) and steps == [0, 1, 2, 3, 4, 4, 5]

    # Queued again: the file is this training's own, so it is neither an obstacle nor written again.
    written = (embeddings / "mode.safetensors").stat().st_mtime_ns
    assert train(made)[2] == expected[2] and len(steps) == 7
    assert (embeddings / "mode.safetensors").stat().st_mtime_ns == written
    assert train(made, name="copy")[2] == expected[2] and len(steps) == 7
    with pytest.raises(ValueError, match="an embedding 'mode' already"):
        train(made, steps=7)
    train(made, steps=7, overwrite=True)
    assert steps[7:] == [6] and not same(content(embeddings), content(embeddings, "copy"))


def test_a_name_that_is_taken_is_refused_and_nothing_is_lost(case, embeddings, monkeypatch):
    made = case("SD1.5")
    kept = embeddings / "mode.safetensors"
    kept.write_bytes(b"somebody's work")
    refuse(monkeypatch, made, "There is an embedding 'mode' already")
    refuse(monkeypatch, made, "There is an embedding 'mode' already", resume=False)
    refuse(monkeypatch, made, "There is an embedding 'mode' already", name=" mode.safetensors ")
    (embeddings / "old.pt").write_bytes(b"another's")
    (embeddings / "sub").mkdir()
    (embeddings / "sub" / "deep.safetensors").write_bytes(b"a third's")
    for overwrite in (False, True):
        refuse(monkeypatch, made, "embedding:old is read from .*old.pt", name="old", overwrite=overwrite)
        refuse(monkeypatch, made, "embedding:deep is read from .*deep.safetensors", name="deep", overwrite=overwrite)
    assert kept.read_bytes() == b"somebody's work"
    monkeypatch.undo()


@pytest.mark.parametrize("name",
                         ["../mode", "a/../../mode", "/tmp/mode", "..", "", ".hidden", "my mode", "mode,", "a:b", "a/",
                          "(mode)", "a//b", "x[1]", "a\\b", "mode."])
def test_names_that_leave_the_folder_or_cannot_be_read_are_refused(embeddings, monkeypatch, name):
    # None of these is looked at before the name is.
    others = dict.fromkeys(("model", "clip", "latents", "initial_text", "vectors", "template"))
    refuse(monkeypatch, {**others, "steps": 4, "learning_rate": 1e-2, "seed": 0}, "cannot be the name", name=name)


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


def test_a_link_out_of_the_folder_is_not_followed(case, embeddings, folders, monkeypatch):
    (embeddings / "elsewhere").symlink_to(folders / "output")
    refuse(monkeypatch, case("SD1.5"), "cannot be the name", name="elsewhere/mode")


def test_texts_and_numbers_that_make_no_sense_are_refused(case, embeddings, monkeypatch):
    made = case("SD1.5")
    for text in ("", "  \n"):
        refuse(monkeypatch, made, "initial text is empty", initial_text=text)
    refuse(monkeypatch, made, "initial text '\\(\\)' has no tokens", initial_text="()")
    refuse(monkeypatch, made, "has 0 placeholders", template="a photo")
    refuse(monkeypatch, made, "has 2 placeholders", template="{} and {}")
    for template in ("a photo of {}.", "un{}", "{}s"):
        refuse(monkeypatch, made, "would not be read as an embedding", template=template)
    for count in (0, 17):
        refuse(monkeypatch, made, f"vectors is {count}", vectors=count)
    refuse(monkeypatch, made, "steps is 0", steps=0)
    refuse(monkeypatch, made, "learning_rate is 0", learning_rate=0.0)
    refuse(monkeypatch, made, "batch_size is 0", batch_size=0)
    refuse(monkeypatch, made, "is empty \\(all zero\\)", latents={"samples": torch.zeros(1, 4, 8, 8)})
    refuse(monkeypatch, made, "NaN or infinity", latents={"samples": torch.full((1, 4, 8, 8), float("inf"))})
    refuse(monkeypatch, made, "carries an inpainting mask",
           latents={**made["latents"], "noise_mask": torch.ones(1, 8, 8)})
    assert not list(embeddings.iterdir())


def test_models_that_do_not_belong_together_are_refused(case, embeddings, monkeypatch):
    import comfy.hooks
    from comfy.text_encoders import sd3_clip

    made = case("SD1.5")
    wide = small_clip("SDXL", embeddings)
    made["model"].model.model_config.unet_config["context_dim"] = 768
    refuse(monkeypatch, made, "gives 16 numbers per token, but the model reads 768", clip=wide)
    tokenizer = SimpleNamespace(clip_l=wide.tokenizer.clip_l,
                                t5xxl=sd3_clip.T5XXLTokenizer.__new__(sd3_clip.T5XXLTokenizer))
    other = SimpleNamespace(patcher=wide.patcher, tokenizer=tokenizer)
    refuse(monkeypatch, made, "SDXLClipModel.* is not that of SD1.5 or SDXL", clip=other)
    hooked = wide.clone()
    hooked.patcher.forced_hooks = comfy.hooks.HookGroup()
    refuse(monkeypatch, made, "changed by a scheduled LoRA", clip=hooked)


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


def refuse(monkeypatch, case, message, **change):
    from mental_averages.nodes import comfyui

    monkeypatch.setattr(comfyui, "with_denoiser", lambda *arguments, **options: pytest.fail("work was started"))
    with pytest.raises(ValueError, match=message):
        train(case, **change)


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
