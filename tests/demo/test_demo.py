"""The demo checkpoint is what it says, and what was trained is what ComfyUI runs."""
import hashlib
import logging
import sys

import numpy as np
import pytest
import torch

import pack
import workspace

sys.path.insert(0, str(pack.ROOT / "demo"))
import dataset
import text_table
import weights

TABLE_DIGEST = "f8acd38d59fe7dd7e1bc532a"


def test_loads_without_a_warning(comfyui, caplog):
    with caplog.at_level(logging.WARNING):
        model, _, _ = pack.load_checkpoint(pack.demo_checkpoint())
    assert not caplog.records, caplog.text
    assert type(model.model.model_config).__name__ == "SD15"


def test_stock_nodes_make_a_picture(demo, prompts_of):
    import nodes

    with torch.inference_mode():
        (latent,) = nodes.common_ksampler(demo[0], 0, 4, 4.0, "ddim", "normal", *prompts_of("red heart"),
                                          {"samples": torch.zeros(2, 4, 8, 8)})
        (pictures,) = nodes.VAEDecode().decode(demo[2], latent)
    assert pictures.shape == (2, 64, 64, 3) and pictures.std() > 0.05


@pytest.mark.parametrize("checkpoint, decoder", [(pack.demo_checkpoint, workspace.PREVIEWS),
                                                 (pack.demo_transformer, workspace.TRANSFORMER_PREVIEWS)])
def test_previews_are_what_the_vae_decodes(comfyui, checkpoint, decoder, monkeypatch):
    import folder_paths
    import latent_preview

    path = checkpoint().resolve()
    model, _, vae = pack.load_checkpoint(path)
    vae_approx = path.parents[1] / "vae_approx"
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "vae_approx", ([str(vae_approx)], {".safetensors"}))
    monkeypatch.setattr(latent_preview.args, "preview_method", latent_preview.LatentPreviewMethod.TAESD)
    previewer = latent_preview.get_previewer(torch.device("cpu"), model.model.latent_format)
    assert type(previewer) is latent_preview.TAESDPreviewerImpl, f"{decoder} was not found in {vae_approx}"

    latent = torch.randn(1, model.model.latent_format.latent_channels, 8, 8, generator=torch.manual_seed(0))
    preview = torch.from_numpy(np.array(previewer.decode_latent_to_preview(latent))).float() / 255
    with torch.inference_mode():
        decoded = vae.decode(model.model.process_latent_out(latent))[0]
    torch.testing.assert_close(preview, decoded.float(), rtol=0, atol=1.5e-2)


@pytest.fixture
def prompts_of(demo):
    return lambda text: (pack.encode_prompt(demo[1], text), pack.encode_prompt(demo[1], ""))


@pytest.mark.parametrize("caption",
                         ["", "red heart", "woman health worker medium dark skin tone twitter", "unknownword " * 40])
def test_text_encoder_is_the_one_of_training(demo, caption):
    (conditioning, _), = pack.encode_prompt(demo[1], caption)
    expected = text_table.embed_captions([caption])
    torch.testing.assert_close(conditioning[:, :77].float(), expected, rtol=0, atol=4e-3)


def test_token_table_is_the_same_everywhere():
    digest = hashlib.sha256(text_table.random_table(1000, seed=1).numpy().tobytes()).hexdigest()
    assert digest.startswith(TABLE_DIGEST)
    assert text_table.token_table().float().var().item() == pytest.approx(1, rel=1e-2)


def test_stored_weights_are_within_half_a_step():
    generator = torch.Generator().manual_seed(0)
    original = {"kernel": torch.randn(8, 4, 3, 3, generator=generator), "bias": torch.randn(8, generator=generator)}
    restored = weights.dequantise(weights.quantise(original))
    step = original["kernel"].flatten(1).abs().amax(1) / 127
    assert ((restored["kernel"].float() - original["kernel"]).flatten(1).abs().amax(1) <= 0.51 * step + 1e-3).all()
    torch.testing.assert_close(restored["bias"], original["bias"].half())
    assert weights.PATH.stat().st_size < 38 * 2**20


@pytest.mark.parametrize("name, caption, concept", [
    ("woman-health-worker-medium-dark-skin-tone", "woman health worker medium dark skin tone", "health worker"),
    ("person-dark-skin-tone-beard", "person beard dark skin tone", "beard"),
    ("man-climbing-tone2", "man climbing medium light skin tone", "climbing"),
    ("red-apple", "red apple", "red apple"), ("woman", "woman", "person"),
    ("kiss-man-man-light-skin-tone-dark-skin-tone", "kiss man man light skin tone dark skin tone", "kiss"),
])
def test_names_become_captions_and_concepts(name, caption, concept):
    assert dataset.caption_of(name) == caption
    assert dataset.concept_of(caption) == concept


def test_joined_names_are_split_by_known_words():
    words = dataset.Counter({"chili": 3, "pepper": 3, "chi": 1, "li": 1})
    assert dataset.split_joined_words("chilipepper", words) == "chili pepper"
    assert dataset.split_joined_words("qqq", words) == "qqq"


def test_training_captions_cover_short_and_empty_ones():
    picture = dataset.Picture("woman health worker dark skin tone", "health worker", "noto", False)
    generator = np.random.default_rng(0)
    drawn = [dataset.training_caption(picture, generator) for _ in range(4000)]
    share = lambda test: sum(map(test, drawn)) / len(drawn)  # noqa: E731
    assert share(lambda text: text == "") == pytest.approx(0.1, abs=0.02)
    assert share(lambda text: text.endswith("noto")) == pytest.approx(0.45, abs=0.03)
    assert {"woman", "health worker", "woman health worker", picture.caption} <= set(drawn)


def test_sampling_is_balanced_over_concepts():
    pictures = [dataset.Picture("a", "a", style, False) for style in ("x", "y", "z")] * 30 + \
               [dataset.Picture("b", "b", style, False) for style in ("x", "y", "z")]
    chances = dataset.sampling_weights(pictures)
    assert chances.sum() == pytest.approx(1)
    assert chances[:90].sum() / chances[90:].sum() == pytest.approx(30**0.4)
