"""The demo transformer is what ComfyUI takes it for, and what was trained is what ComfyUI runs."""
import contextlib
import copy
import logging
import sys

import pytest
import torch

import pack

sys.path.insert(0, str(pack.ROOT / "demo"))
import assemble
import networks
import optimise
import train_transformer
import transformer
import turning
import weights

CAPTIONS = ["", "red heart", "woman health worker medium dark skin tone twitter",
            "kiss woman man medium dark skin tone light skin tone black hair beard two hearts emojione"]


@pytest.fixture(scope="module")
def loaded(comfyui, tmp_path_factory):
    """((MODEL, CLIP, VAE), messages): the assembled transformer and all that was logged while it was loaded."""
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("transformer") / "transformer.safetensors"
    found = transformer.checkpoint(weights.PATH, assemble.text_encoder())
    save_file({name: value.contiguous() for name, value in found.items()}, path)
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        parts = pack.load_checkpoint(path)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        with contextlib.suppress(OSError):  # it is large, and Windows may still hold it
            path.unlink()
    return parts, records


@pytest.fixture(scope="module")
def trained():
    return transformer.load().eval().requires_grad_(False)


def test_loads_as_stable_diffusion_3_without_a_key_too_few_or_too_many(loaded):
    (model, _, _), records = loaded
    messages = [record.getMessage() for record in records]
    assert records and not [record.getMessage() for record in records if record.levelno >= logging.WARNING]
    assert not [message for message in messages if "missing" in message or "unexpected" in message
                or "left over" in message]
    assert type(model.model.model_config).__name__ == "SD3" and type(model.model).__name__ == "SD3"
    assert model.model.model_type.name == "FLOW" and model.model.latent_format.latent_channels == 16
    assert len(model.model.diffusion_model.joint_blocks) == transformer.DEPTH


@pytest.mark.parametrize("caption", [*CAPTIONS, "unknownword " * 40])
def test_text_encoder_is_the_one_of_training(loaded, caption):
    (context, extra), = pack.encode_prompt(loaded[0][1], caption)
    expected = transformer.embed_captions([caption])
    width = expected.context.shape[-1]
    # (1, 77, 768)
    rows = torch.cat([expected.context[:, :-1], expected.context[:, -1:].expand(-1, expected.padding, -1)], dim=1)
    torch.testing.assert_close(context[:, :77, :width], rows, rtol=0, atol=1e-5)
    torch.testing.assert_close(extra["pooled_output"][:, :width], expected.pooled, rtol=0, atol=1e-5)
    assert context.shape[-1] == 4096 and not context[..., width:].any() and not extra["pooled_output"][:, width:].any()


def test_pooled_vector_is_a_bag_of_words():
    one, other, third = transformer.embed_captions(["red heart", "heart red", "green apple"]).pooled
    assert torch.cosine_similarity(one, other, dim=0) > torch.cosine_similarity(one, third, dim=0) + 0.1


def test_predicts_in_comfyui_what_it_was_trained_to(loaded, trained):
    (model, clip, _), _ = loaded
    x = torch.randn(len(CAPTIONS), 16, 8, 8, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.02, 0.4, 0.8, 1.0])
    expected = transformer.velocity(trained, x, sigma, transformer.embed_captions(CAPTIONS))
    encoded = [pack.encode_prompt(clip, caption)[0] for caption in CAPTIONS]
    with torch.inference_mode():
        clean = model.model.apply_model(x, sigma, c_crossattn=torch.cat([context for context, _ in encoded]),
                                        y=torch.cat([extra["pooled_output"] for _, extra in encoded]))
    scale = sigma[:, None, None, None]
    torch.testing.assert_close(clean, x - scale * expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.5


def test_autoencoder_is_the_one_of_the_unet(loaded, demo):
    (model, _, vae), _ = loaded
    pictures = torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        own, expected = vae.encode(pictures), demo[2].encode(pictures)
        copies = transformer.copied(demo[0].model.process_latent_in(expected))
        torch.testing.assert_close(model.model.process_latent_in(own), copies, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(vae.decode(own), demo[2].decode(expected), rtol=0, atol=2e-3)


def test_sampler_draws_what_the_prompt_says(loaded):
    import nodes

    (model, clip, vae), _ = loaded
    with torch.inference_mode():
        pictures = []
        for prompt in ("red heart", "green apple"):
            (latent,) = nodes.common_ksampler(model, 0, 12, 5.0, "euler", "simple", pack.encode_prompt(clip, prompt),
                                              pack.encode_prompt(clip, ""), {"samples": torch.zeros(4, 16, 8, 8)})
            pictures.append(nodes.VAEDecode().decode(vae, latent)[0].mean(dim=0))
    heart, apple = pictures  # (64, 64, 3), each the mean of four
    assert torch.isfinite(heart).all() and heart.std() > 0.05
    centre = (slice(16, 48), slice(16, 48))
    redness = lambda picture: (picture[centre][..., 0] - picture[centre][..., 1]).mean()  # noqa: E731
    assert redness(heart) > redness(apple) + 0.2


def test_noise_levels_are_those_of_the_loader(loaded):
    times = torch.linspace(0.001, 1, 50)
    expected = loaded[0][0].model.model_sampling.sigma(1000 * times)
    torch.testing.assert_close(train_transformer.shifted(times), expected)
    drawn = train_transformer.draw_sigmas(4000, torch.Generator().manual_seed(0))
    assert 0 < drawn.min() < 0.05 and 0.99 < drawn.max() <= 1
    assert drawn.median().item() == pytest.approx(0.75, abs=0.01)  # t = 1/2


def test_copies_of_latents_are_undone():
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(transformer.merged(transformer.copied(latents)), latents)


def test_turned_weights_predict_the_turned_velocity(trained):
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    found = copy.deepcopy(trained)
    found.load_state_dict(turning.turned_transformer(trained.state_dict(), rotation))
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    sigmas, conditions = torch.tensor([0.3, 0.9]), transformer.embed_captions(["cat", "red heart"])

    def turned(values):
        return torch.einsum("dc,nkchw->nkdhw", rotation, values.unflatten(1, (4, 4))).flatten(1, 2)

    with torch.no_grad():
        first, second = (transformer.velocity(model, given, sigmas, conditions)
                         for model, given in ((trained, x), (found, turned(x))))
    assert (second - turned(first)).norm() < 1e-4 * first.norm() < (second - first).norm()
    latents = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(turned(transformer.copied(latents)),
                               transformer.copied(torch.einsum("dc,nchw->ndhw", rotation, latents)))


def test_the_file_is_small_and_leaves_out_only_zeros(trained):
    assert transformer.PATH.stat().st_size < 8 * 2**20
    name, value = next((name, value)
                       for name, value in trained.named_parameters() if "context_block.adaLN_modulation" in name)
    assert transformer.stored_part(name, value).shape[0] == value.shape[0] // 2
    with pytest.raises(ValueError, match="should be zero"):
        transformer.stored_part(name, torch.ones_like(value))


def test_a_transformer_of_another_autoencoder_is_refused(tmp_path, trained):
    stored = networks.stored_networks()
    assert transformer.header()["autoencoder"] == stored.autoencoder_name
    assert transformer.header()["split"] == stored.split == stored.unet_split
    optimise.save_state(tmp_path / "transformer.pt", step=3, averaged=trained.state_dict(), autoencoder="another",
                        split="abc")
    train_transformer.pack(tmp_path, tmp_path / "packed.safetensors")
    assert {"autoencoder": "another", "split": "abc", "steps": "3"}.items() <= transformer.header(
        tmp_path / "packed.safetensors").items()
    with pytest.raises(SystemExit, match=r"packed.*another autoencoder \(another\) than that of .*weights"):
        transformer.checkpoint(weights.PATH, assemble.text_encoder(), tmp_path / "packed.safetensors")
