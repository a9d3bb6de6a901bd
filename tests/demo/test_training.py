"""What the trainings of demo/ share: pictures and their split, captions, clock, objective and networks."""
import dataclasses
import json
import logging
import sys
import time

import numpy as np
import pytest
import torch

import pack

sys.path.insert(0, str(pack.ROOT / "demo"))
import archive
import assemble
import autoencoding
import captions
import dataset
import latents
import networks
import objective
import optimise
import text_table
import train
import training
import transformer
import turning
import weights
from optimise import Budget


def pictures_of(*described):
    return [dataset.Picture(caption, concept, style, held_out) for caption, concept, style, held_out in described]


def test_equal_pictures_are_on_one_side():
    """"a" and "b" share a picture, "b" and "c" another; "d" and "e" share one and are both held out, in another style
    "a" stands for itself."""
    pictures = pictures_of(("a", "a", "x", True), ("b", "b", "x", True), ("b dark", "b", "x", True),
                           ("c", "c", "x", False), ("d", "d", "x", True), ("e", "e", "x", True), ("a", "a", "y", True))
    images = np.array([1, 1, 2, 2, 3, 3, 4], np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    mended = dataset.keep_alike_together(pictures, images)
    assert [picture.held_out for picture in mended] == [False, False, False, False, True, True, True]
    assert [dataclasses.replace(picture, held_out=False) for picture in mended] == \
        [dataclasses.replace(picture, held_out=False) for picture in pictures]
    assert dataset.keep_alike_together(mended, images) == mended
    assert dataset.split_digest(mended) != dataset.split_digest(pictures)


@pytest.fixture(scope="module")
def small(comfyui, tmp_path_factory):
    """(archive file, pictures, images): thirty made-up pictures with random colours."""
    path = tmp_path_factory.mktemp("archive") / "pictures.zip"
    pictures = pictures_of(*((f"thing {number}", f"thing {number}", ("noto", "twitter")[number % 2], number < 4)
                             for number in range(30)))
    images = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    archive.write(path, pictures, images, laws=("mixed",))
    return path, pictures, images


def test_an_archive_gives_back_what_was_put_in(small):
    path, pictures, images = small
    found, drawn = dataset.load(path)
    assert found == pictures and np.array_equal(drawn, images)
    with pytest.raises(SystemExit, match="of 64 pixels, but .* of 32 pixels"):
        dataset.load(path, 32)
    ids = captions.load(path, pictures, "mixed")
    assert ids.shape == (30, captions.COUNT, 77)
    drawn = dataset.training_captions(pictures, dataset.CAPTION_LAWS["mixed"], captions.COUNT)
    assert ids[7, 3].tolist() == list(text_table.token_ids(drawn[7][3]))
    with pytest.raises(SystemExit, match="by the laws mixed, but not by 'whole' as it is now"):
        captions.load(path, pictures, "whole")


def test_an_archive_with_captions_of_another_law_is_refused(small, monkeypatch, tmp_path):
    """A law that was changed under its name, and one whose numbers stayed while captions are drawn in another way."""
    path, pictures, images = small
    with monkeypatch.context() as patch:
        patch.setitem(dataset.CAPTION_LAWS, "mixed", dataclasses.replace(dataset.CAPTION_LAWS["mixed"], concept=0.3))
        with pytest.raises(SystemExit, match=r"'mixed' as it is now, CaptionLaw\(.*concept=0.3"):
            captions.load(path, pictures, "mixed")
    with monkeypatch.context() as patch:
        patch.setattr(captions, "make", lambda pictures, law: np.zeros((len(pictures), captions.COUNT, 77), np.uint16))
        archive.write(tmp_path / "other.zip", pictures, images, laws=("mixed",))
    with pytest.raises(SystemExit, match="other captions by the law 'mixed' than are drawn now"):
        captions.load(tmp_path / "other.zip", pictures, "mixed")


def test_embedding_ids_is_embedding_captions(comfyui):
    texts = ["", "red heart", "woman health worker medium dark skin tone twitter"]
    ids = torch.tensor([text_table.token_ids(text) for text in texts], dtype=torch.int32)
    assert torch.equal(text_table.embed_ids(ids), text_table.embed_captions(texts))
    rows = transformer.rows_for(ids)
    expected, found = transformer.embed_captions(texts), transformer.embed_ids(ids, rows)
    assert torch.equal(found.context, expected.context) and torch.equal(found.pooled, expected.pooled)
    # More rows say the same: what they add is padding.
    assert torch.allclose(transformer.embed_ids(ids, rows + 9).pooled, expected.pooled, atol=1e-6)


def test_whole_captions_have_no_pieces_of_names():
    picture = dataset.Picture("woman health worker dark skin tone", "health worker", "noto", False)
    drawn = {caption.removesuffix(" noto") for row in dataset.training_captions(
        [picture], dataset.CAPTION_LAWS["whole"], 500) for caption in row}
    assert drawn == {"", "health worker", "woman health worker", picture.caption}


def test_a_budget_of_steps_rises_stays_and_falls():
    budget = Budget(steps=1000, warmup=10)
    rates = [budget.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.1) and rates[9:750] == [1.0] * 741
    assert rates[875] == pytest.approx(0.5) and 0 < rates[999] < 0.01
    assert not budget.is_falling(749) and budget.is_falling(750) and budget.share(1000) == 1
    # A short one reaches its highest rate too, and one that goes on counts what comes after the stored steps.
    for origin in (0, 7600):
        short = Budget(steps=origin + 200, origin=origin)
        rates = [short.rate(origin + step) for step in range(200)]
        assert rates[0] == pytest.approx(1 / 200) and rates[5] == pytest.approx(0.5) and rates[10:150] == [1.0] * 140
        assert short.is_falling(origin + 150) and not short.is_falling(origin + 149)
    with pytest.raises(ValueError, match="7600 steps behind them"):
        Budget(steps=4800, origin=7600)
    with pytest.raises(ValueError, match="one of them"):
        Budget()


def test_a_budget_by_the_clock_follows_it(monkeypatch):
    monkeypatch.setattr(optimise.time, "time", lambda: now[0])
    now = [1000.0]
    budget = Budget(deadline=1000.0 + 100 + optimise.MARGIN, warmup=10**6, began=1000.0)
    assert budget.share(7) == 0 and budget.rate(7) < 0.01
    for elapsed, rate in ((2.5, 0.5), (5, 1), (75, 1), (87.5, 0.5), (100, 1e-3), (500, 1e-3)):
        now[0] = 1000.0 + elapsed
        assert budget.rate(7) == pytest.approx(rate), elapsed
    assert budget.share(7) == 1


@pytest.mark.parametrize("clock", [False, True])
def test_optimise_ends_learns_and_keeps_the_average(tmp_path, clock):
    model, averaged = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1).requires_grad_(False)
    target = torch.tensor([3.0, -1.0])
    parts = []

    def loss_at_step(step, part):
        parts.append((step, part))
        inputs = torch.randn(16, 2, generator=torch.Generator().manual_seed(step * 8 + part))
        return (model(inputs)[:, 0] - inputs @ target).square().mean()

    budget = Budget(None if clock else 300, time.time() + 1.5 if clock else None, warmup=5)
    optimise.optimise(model, averaged, 0.1, budget, tmp_path / "model.pt", loss_at_step, lambda step: None,
                      final_batches=2, weight_decay=0.0, split="s")
    assert torch.allclose(averaged.weight[0], target, atol=0.05)
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert state["split"] == "s" and torch.equal(state["averaged"]["weight"], averaged.weight)
    assert ("optimiser" in state) is not clock and (0, 1) not in parts and parts[-1] == (state["step"] - 1, 1)
    if clock:
        # However late it is, there is a result.
        optimise.optimise(model, averaged, 0.1, Budget(deadline=time.time() - 5), tmp_path / "late.pt", loss_at_step,
                          lambda step: None)
        assert torch.load(tmp_path / "late.pt", weights_only=True)["step"] == 1


def test_states_by_steps_and_by_the_clock_do_not_spoil_each_other(tmp_path):
    model, averaged = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1).requires_grad_(False)

    def run(name, split="s", **lasting):
        optimise.optimise(model, averaged, 0.1, Budget(**lasting), tmp_path / name,
                          lambda step, part: model(torch.ones(1, 2)).square().mean(), lambda step: None, split=split)

    run("steps.pt", steps=3)
    kept = (tmp_path / "steps.pt").read_bytes()
    with pytest.raises(SystemExit, match="of a training by steps, and could not be gone on with"):
        run("steps.pt", deadline=time.time() + 1)
    assert (tmp_path / "steps.pt").read_bytes() == kept
    run("steps.pt", steps=5)
    run("clock.pt", deadline=time.time())
    with pytest.raises(SystemExit, match="averaged weights alone.*choose another --run folder"):
        run("clock.pt", steps=5)
    run("clock.pt", split="another", deadline=time.time())  # begins anew
    with pytest.raises(SystemExit, match=r"another split \(s\) than that of now \(another\)"):
        run("steps.pt", split="another", steps=7)


def test_a_training_that_went_on_from_stored_weights_goes_on_with_their_steps(tmp_path):
    """Also when nobody tells it again where it began."""
    model, averaged = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1).requires_grad_(False)
    steps = []

    def loss_at_step(step, part):
        steps.append(step)
        return model(torch.ones(1, 2)).square().mean()

    for lasting in (dict(steps=103, origin=100), dict(steps=105)):
        optimise.optimise(model, averaged, 0.1, Budget(**lasting), tmp_path / "state.pt", loss_at_step,
                          lambda step: None)
    assert steps == [100, 101, 102, 103, 104]
    assert torch.load(tmp_path / "state.pt", weights_only=True)["origin"] == 100


def test_the_fastest_that_works_is_chosen():
    def broken():
        raise RuntimeError("no")

    assert optimise.fastest({"slow": lambda: time.sleep(0.02), "broken": broken, "quick": lambda: None}) == "quick"
    with pytest.raises(RuntimeError, match="no"):
        optimise.fastest({"broken": broken})


def test_loss_weights():
    """A velocity's squared error is the noise's times its weight, and min-SNR is that of arXiv:2303.09556."""
    alphas = objective.alphas_cumprod().double()
    x0, eps, guess = torch.randn(3, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step in (0, 400, 800):
        a, s = alphas[step].sqrt(), (1 - alphas[step]).sqrt()
        x = a * x0 + s * eps
        velocity = lambda noise: a * noise - s * (x - s * noise) / a  # noqa: E731
        ratio = (velocity(guess) - velocity(eps)).square().mean() / (guess - eps).square().mean()
        assert objective.loss_weights("velocity")[step].item() == pytest.approx(min(ratio.item(), objective.MOST), 1e-4)
    snr = (alphas / (1 - alphas)).float()
    assert torch.allclose(objective.loss_weights("min-snr"), (5 / snr).clamp(max=1), rtol=1e-4)
    assert torch.equal(objective.loss_weights("noise"), torch.ones(1000))


def test_every_stratum_is_drawn_from_once():
    shares = objective.draw_shares(64, torch.Generator().manual_seed(0))
    assert (shares * 64).floor().tolist() == list(range(64)) and 0.2 < (shares * 64 % 1).std() < 0.4
    times = objective.draw_times(64, torch.Generator().manual_seed(0))
    assert torch.equal(times, (shares * 1000).floor().long())


def test_assigned_noise_is_the_same_noise_nearer_by():
    from itertools import permutations

    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(7, 3, 2, generator=generator) for _ in range(2))
    found = objective.assigned(noise, clean, group=4)
    for rows in (slice(0, 4), slice(4, 7)):
        least = min(sum((clean[rows][i] - noise[rows][j]).norm() for i, j in enumerate(order))
                    for order in permutations(range(len(noise[rows]))))
        assert sum((clean[rows] - found[rows]).flatten(1).norm(dim=1)) == pytest.approx(least.item(), 1e-5)
        assert torch.equal(found[rows].flatten(1).sum(1).sort().values, noise[rows].flatten(1).sum(1).sort().values)


@pytest.mark.parametrize("name", networks.UNETS)
def test_unets_are_what_comfyui_takes_for_stable_diffusion_15(comfyui, name, caplog):
    """By the names and shapes of its weights alone, and small enough for the repository."""
    import comfy.model_detection

    with torch.device("meta"):
        unet = networks.build_unet(name, dropout=0.1)
    state = unet.state_dict()
    with caplog.at_level(logging.WARNING):
        config = comfy.model_detection.model_config_from_unet(dict(state), "")
    assert not caplog.records and type(config).__name__ == "SD15"
    wanted, found = networks.UNETS[name], config.unet_config
    for key in ("num_res_blocks", "channel_mult", "transformer_depth", "transformer_depth_output"):
        assert list(found[key]) == wanted[key], key
    assert found["transformer_depth_middle"] == wanted["transformer_depth_middle"]
    rebuilt = {**found, **config.unet_extra_config}
    rebuilt.pop("disable_unet_model_creation", None)
    with torch.device("meta"):
        again = type(unet)(**rebuilt, operations=networks.TrainableOperations)
    assert {key: value.shape for key, value in again.state_dict().items()} == \
        {key: value.shape for key, value in state.items()}
    assert sum(value.numel() for value in state.values()) + 2.5e6 < 34.2 * 2**20


def test_packed_weights_are_a_checkpoint_and_tell_what_they_are(comfyui, tmp_path):
    networks_of = {"autoencoder": networks.build_autoencoder(), "denoiser": networks.build_unet("tiny")}
    name = weights.digest(networks_of["autoencoder"].state_dict())
    for part, network in networks_of.items():
        optimise.save_state(tmp_path / f"{part}.pt", step=5, averaged=network.state_dict(), split="abc",
                            architecture="tiny", **({"autoencoder": name} if part == "denoiser" else {}))
    weights.pack(tmp_path, tmp_path / "weights.safetensors")
    stored = networks.stored_networks(tmp_path / "weights.safetensors")
    assert (stored.architecture, stored.split, stored.unet_split, stored.unet_steps, stored.autoencoder_name) == \
        ("tiny", "abc", "abc", 5, name)
    networks.build_unet(stored.architecture).load_state_dict(stored.unet)
    found = assemble.checkpoint(weights.load(tmp_path / "weights.safetensors")[0])
    assert "model.diffusion_model.out.2.weight" in found and "first_stage_model.taesd_decoder.1.weight" in found


def test_networks_that_were_not_trained_together_are_not_packed(comfyui, tmp_path):
    first, other = networks.build_autoencoder().state_dict(), networks.build_autoencoder().state_dict()
    last = next(reversed(first))
    assert weights.digest(first) != weights.digest({**first, last: first[last] + 1e-3})
    optimise.save_state(tmp_path / "denoiser.pt", step=5, averaged={}, split="abc", architecture="tiny",
                        autoencoder=weights.digest(first))
    for averaged, split, match in ((other, "abc", "denoiser.pt was trained on the latents of another autoencoder"),
                                   (first, "xyz", r"autoencoder.pt was trained on another split .*\(xyz\).*\(abc\)")):
        optimise.save_state(tmp_path / "autoencoder.pt", step=5, averaged=averaged, split=split)
        with pytest.raises(SystemExit, match=match):
            weights.pack(tmp_path, tmp_path / "weights.safetensors")
    assert not (tmp_path / "weights.safetensors").exists()


CPU = torch.device("cpu")


def test_an_autoencoder_of_another_split_is_refused(comfyui, tmp_path):
    state = networks.build_autoencoder().state_dict()
    for split, right in (("abc", True), (weights.UNKNOWN_SPLIT, True), ("other", False), (None, False)):
        optimise.save_state(tmp_path / "autoencoder.pt", step=1, averaged=state, split=split)
        if right:
            assert latents.load_autoencoder(tmp_path, "abc", CPU).name == weights.digest(state)
        else:
            with pytest.raises(SystemExit, match="another split"):
                latents.load_autoencoder(tmp_path, "abc", CPU)


def test_a_run_without_an_autoencoder_gets_the_stored_one_with_its_name(comfyui, tmp_path):
    with pytest.raises(SystemExit, match="train the autoencoder first"):
        latents.load_autoencoder(tmp_path, "abc", CPU)
    stored = networks.stored_networks()
    with pytest.raises(SystemExit, match=r"weights\.safetensors was trained on another split"):
        latents.load_autoencoder(tmp_path, "abc", CPU, stored)
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        assert latents.load_autoencoder(tmp_path, stored.split, CPU, stored).name == stored.autoencoder_name
    found = latents.load_autoencoder(tmp_path, stored.split, CPU)
    assert torch.equal(found.encoder.state_dict()["0.weight"], stored.autoencoder["0.0.weight"])
    with pytest.raises(SystemExit, match="averaged weights alone"):
        optimise.check_state(tmp_path / "autoencoder.pt", by_clock=False)


def test_a_folder_keeps_latents_for_their_autoencoder(comfyui, tmp_path, monkeypatch):
    images = torch.randint(256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    one, other = (latents.Autoencoder(*networks.build_autoencoder().eval(), name) for name in ("one", "other"))
    for autoencoder in (one, other):
        expected = latents.encode_all(autoencoder.encoder, images)
        assert torch.equal(latents.latents_of(autoencoder, images, tmp_path), expected)
    monkeypatch.setattr(latents, "encode_all", lambda encoder, images: pytest.fail("they are there"))
    assert torch.equal(latents.latents_of(other, images, tmp_path), expected)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_decoder_learns_alone_and_takes_the_place_of_its_autoencoders(comfyui, small, tmp_path, capsys):
    torch.manual_seed(0)
    before, path = networks.build_autoencoder(), tmp_path / "autoencoder.pt"
    split = dataset.split_digest(small[1])
    optimise.save_state(path, step=3, averaged=before.state_dict(), split=split)
    first = latents.load_autoencoder(tmp_path, split, CPU)
    for steps in ("1", "2"):
        arguments = options("decoder", "--data", str(small[0]), "--run", str(tmp_path), "--steps", steps, "--batch",
                            "2", "--relative", "0.1", "--pictures", "8")
        arguments.train(arguments)
    assert "resumed at step 1" in capsys.readouterr().out
    found = latents.load_autoencoder(tmp_path, split, CPU)
    assert found.name == first.name == weights.digest(before.state_dict())
    changed = {part: [name for name, value in getattr(found, part).state_dict().items()
                      if not torch.equal(value, getattr(first, part).state_dict()[name])]
               for part in ("encoder", "decoder")}
    assert not changed["encoder"] and len(changed["decoder"]) > 10
    optimise.save_state(tmp_path / "denoiser.pt", step=5, averaged={}, split=split, architecture="tiny",
                        autoencoder=first.name)
    weights.pack(tmp_path, tmp_path / "weights.safetensors")
    stored = networks.stored_networks(tmp_path / "weights.safetensors")
    assert (stored.autoencoder_steps, stored.decoder_steps) == (3, 2)
    (tmp_path / "again").mkdir()
    again = latents.load_autoencoder(tmp_path / "again", split, CPU, stored)
    for name, value in found.decoder.state_dict().items():
        assert torch.allclose(again.decoder.state_dict()[name], value, atol=0.02 * value.abs().max().item()), name
    optimise.save_state(tmp_path / "again" / "autoencoder.pt", step=3, averaged=before.state_dict(), split=split)
    with pytest.raises(SystemExit, match="a decoder of before, of 0 steps and not 2: remove it"):
        latents.load_autoencoder(tmp_path / "again", split, CPU, stored)
    for known, right in ((weights.UNKNOWN_SPLIT, True), ("other", False)):
        optimise.save_state(path, step=3, averaged=before.state_dict(), split=known)
        if right:
            assert latents.load_autoencoder(tmp_path, split, CPU).name == first.name
        else:
            with pytest.raises(SystemExit, match=r"autoencoder.pt was trained on another split .*\(other\)"):
                weights.trained_autoencoder(tmp_path)
    optimise.save_state(path, step=3, averaged=networks.build_autoencoder().state_dict(), split=split)
    with pytest.raises(SystemExit, match="decoder.pt was trained on the latents of another autoencoder"):
        latents.load_autoencoder(tmp_path, split, CPU)
    with pytest.raises(SystemExit, match="decoder.pt is of a training with another autoencoder .* or remove it"):
        arguments.train(arguments)
    with pytest.raises(SystemExit, match="decoder.pt was trained on the latents .* remove it to train the autoencoder"):
        autoencoding.train_autoencoder(arguments)


def test_a_decoder_that_is_trained_by_the_clock_begins_anew(comfyui, small, tmp_path):
    torch.manual_seed(0)
    split = dataset.split_digest(small[1])
    optimise.save_state(tmp_path / "autoencoder.pt", step=3, averaged=networks.build_autoencoder().state_dict(),
                        split=split)
    found = []
    for _ in range(2):
        arguments = options("decoder", "--data", str(small[0]), "--run", str(tmp_path), "--deadline",
                            f"{time.time()}", "--batch", "2", "--pictures", "8")
        arguments.train(arguments)
        found.append(torch.load(tmp_path / "decoder.pt", weights_only=True))
    assert [state["step"] for state in found] == [1, 1]
    first, second = (state["averaged"] for state in found)
    assert all(torch.equal(first[name], second[name]) for name in first)


def options(part, *words):
    return train.parse([part, "--data", "d", "--run", "r", "--comfyui", "c", *words])


@pytest.mark.parametrize("part, words, said", [
    ("autoencoder", ["--captions", "whole"], "unrecognized arguments"),
    ("autoencoder", ["--noise", "assigned"], "unrecognized arguments"),
    ("autoencoder", ["--previews", "3"], "unrecognized arguments"),
    ("autoencoder", ["--from-weights"], "unrecognized arguments"),
    ("autoencoder", ["--dropout", "0.1"], "unrecognized arguments"),
    ("denoiser", ["--relative", "0.1"], "unrecognized arguments"),
    ("decoder", ["--colours", "0.1"], "unrecognized arguments"),
    ("denoiser", ["--styles", "noto,twiter"], "'twiter': take some of noto, blob"),
    ("denoiser", ["--styles", "noto, blob"], "' blob'"),
    ("denoiser", ["--steps", "10", "--deadline", "99"], "not allowed with"),
    ("denoiser", ["--batch", "0"], "'0' is not a number of at least 1"),
])
def test_options_that_would_do_nothing_are_refused(part, words, said, capsys):
    with pytest.raises(SystemExit):
        options(part, *words)
    assert said in capsys.readouterr().err


def test_latents_without_a_preview_error_are_previewed_in_the_pictures_colours(comfyui):
    """By ComfyUI's own previewer, to its rounding."""
    import comfy.latent_formats
    import latent_preview

    target = torch.rand(1, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    factors = comfy.latent_formats.SD15().latent_rgb_factors
    colours = torch.nn.functional.avg_pool2d(target, 8)  # (1, 3, 4, 2)
    latent = torch.einsum("bdhw,dc->bchw", 2 * colours - 1, torch.linalg.pinv(torch.tensor(factors)))
    assert autoencoding.preview_error(latent, target) < 1e-10
    shown = latent_preview.Latent2RGBPreviewer(factors).decode_latent_to_preview(latent)
    assert np.abs(np.asarray(shown) / 255 - colours[0].permute(1, 2, 0).numpy()).max() < 1.01 / 255
    brighter = latent + torch.tensor(factors).pinverse().sum(0)[:, None, None] * 0.2  # (4, 1, 1): 0.1 in each colour
    assert autoencoding.preview_error(brighter, target).item() == pytest.approx(0.01, rel=1e-3)


def test_options_have_their_own_defaults():
    autoencoder, denoiser = options("autoencoder"), options("denoiser", "--styles", "noto,blob")
    assert (autoencoder.steps, autoencoder.batch, autoencoder.peak) == (2000, 24, 1e-3)
    assert (denoiser.steps, denoiser.batch, denoiser.peak) == (4800, 64, 5e-4)
    assert denoiser.styles == ("noto", "blob") and autoencoder.styles == training.STYLES


def test_some_pictures_of_some_styles(small, tmp_path):
    path, pictures, images = small
    data = training.prepare(options("denoiser", "--data", str(path), "--run", str(tmp_path), "--styles", "noto",
                                    "--pictures", "5"), 64, "mixed")
    rows = [pictures.index(picture) for picture in data.pictures]
    assert len(rows) == 5 and {picture.style for picture in data.pictures} == {"noto"}
    assert np.array_equal(data.images.numpy(), images[rows]) and data.cumulative[-1].item() == pytest.approx(1)
    assert np.array_equal(data.captions.numpy(), captions.load(path, pictures, "mixed")[rows])
    assert [picture.held_out for picture in data.held_out_pictures] == [True, True]


def test_stored_weights_go_on_as_what_they_are(comfyui, small, tmp_path, monkeypatch):
    """Neither on another split, nor in another architecture, nor with fewer steps than they have."""
    path, *_ = small
    stored = networks.stored_networks()
    words = ["--data", str(path), "--run", str(tmp_path), "--from-weights"]
    with pytest.raises(SystemExit, match="another split"):
        train.train_denoiser(options("denoiser", *words))
    monkeypatch.setattr(training, "split_digest", lambda pictures: stored.split)
    with pytest.raises(SystemExit, match="is 'narrow' and cannot go on as 'late'"):
        train.train_denoiser(options("denoiser", *words, "--architecture", "late"))
    with pytest.raises(SystemExit, match=f"{stored.unet_steps} steps behind them"):
        train.train_denoiser(options("denoiser", *words))


def test_a_denoiser_is_turned_for_the_latents_of_another_autoencoder(comfyui, capsys):
    """Of one whose latents are those of the stored one, turned and shifted: it predicts the same noise, turned."""
    stored = networks.stored_networks()
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    own = networks.build_autoencoder()
    own.load_state_dict(stored.autoencoder)
    other = networks.build_autoencoder()
    other.load_state_dict(stored.autoencoder)
    with torch.no_grad():
        last = other[0][-1]
        last.weight.copy_((rotation @ last.weight.flatten(1)).view_as(last.weight))
        last.bias.copy_(rotation @ last.bias + 0.3)
    images = torch.randint(256, (5, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    coded = latents.encode_all(other[0], images)
    assert turning.start(stored, stored.autoencoder_name, images, latents.encode_all(own[0], images)) is stored.unet
    found = turning.start(stored, "other", images, coded)
    assert "explain 100% of the variance" in capsys.readouterr().out

    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    times, context = torch.tensor([100.0, 800.0]), text_table.embed_captions(["cat", "red heart"])
    unet = networks.build_unet(stored.architecture).eval()
    predicted = []
    for state, given in ((stored.unet, x), (found, torch.einsum("dc,bchw->bdhw", rotation, x))):
        unet.load_state_dict(state)
        with torch.no_grad():
            predicted.append(unet(given, times, context=context))
    expected = torch.einsum("dc,bchw->bdhw", rotation, predicted[0])
    assert (predicted[1] - expected).norm() < 1e-4 * expected.norm()
    assert (predicted[0] - expected).norm() > 0.1 * expected.norm()


def test_stored_weights_without_a_name_are_the_first_architecture():
    stored = networks.stored_networks()
    assert stored.architecture in networks.UNETS
    assert json.loads(json.dumps(stored.unet_steps)) > 0
