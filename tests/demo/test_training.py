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
import captions
import dataset
import networks
import objective
import optimise
import text_table
import train
import transformer
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
    for part, network in networks_of.items():
        optimise.save_state(tmp_path / f"{part}.pt", step=5, averaged=network.state_dict(), split="abc",
                            architecture="tiny")
    weights.pack(tmp_path, tmp_path / "weights.safetensors")
    stored = networks.stored_networks(tmp_path / "weights.safetensors")
    assert (stored.architecture, stored.split, stored.unet_steps) == ("tiny", "abc", 5)
    networks.build_unet(stored.architecture).load_state_dict(stored.unet)
    found = assemble.checkpoint(assemble.stored_networks(tmp_path / "weights.safetensors"))
    assert "model.diffusion_model.out.2.weight" in found and "first_stage_model.taesd_decoder.1.weight" in found


def test_an_autoencoder_of_another_split_is_refused(comfyui, tmp_path):
    state = networks.build_autoencoder().state_dict()
    for split, right in (("abc", True), (train.UNKNOWN_SPLIT, True), ("other", False), (None, False)):
        optimise.save_state(tmp_path / "autoencoder.pt", step=1, averaged=state, split=split)
        if right:
            assert train.load_autoencoder(tmp_path, "abc")[1]["step"] == 1
        else:
            with pytest.raises(SystemExit, match="another split"):
                train.load_autoencoder(tmp_path, "abc")


def test_stored_weights_without_a_name_are_the_first_architecture():
    stored = networks.stored_networks()
    assert stored.architecture in networks.UNETS
    assert json.loads(json.dumps(stored.unet_steps)) > 0
