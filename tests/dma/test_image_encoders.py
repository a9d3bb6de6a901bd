"""Encoders of random weights, written and read as folders in the format of the transformers library."""
import json
import logging
import shutil

import pytest
import torch
import torch.nn.functional as F

from mental_averages.dma import encoders
from mental_averages.dma.encoders import _embed, check_folder, embed_images, embed_texts, load_encoder

VISION = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32,
              patch_size=8)
TEXT = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=12)
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] what is the skin tone ? dark light medium yes no [DEC] [ENC]".split()


def write_network(folder, network, processor):
    """Larger random weights than the library's, so that pictures differ clearly."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + norm)
            if name == "text_decoder.cls.predictions.bias":
                parameter[[0, 1, 2, 4, 16, 17]] = -100.0  # answers in words
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_vocabulary(folder, merges):
    """A CLIP's vocab.json and merges.txt; returns how many tokens there are."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), "<|startoftext|>",
              "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}),
                                       encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges), ""]), encoding="utf-8")
    return len(tokens)


def write_clip(folder):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

    last = write_vocabulary(folder, []) - 1
    CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()  # some versions of the library write them, some do not
    text = {**TEXT, "vocab_size": last + 1, "bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": last}
    return write_network(folder, CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)),
                         CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}))


def write_clip_vision(folder):
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    return write_network(folder, CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION, projection_dim=8)),
                         CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}))


def write_siglip(folder):
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    text = {**TEXT, "vocab_size": 30, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "projection_size": 16}
    return write_network(folder, SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)),
                         SiglipImageProcessor(size={"height": 32, "width": 32}))


def write_siglip_vision(folder):
    from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

    return write_network(folder, SiglipVisionModel(SiglipVisionConfig(**VISION)),
                         SiglipImageProcessor(size={"height": 32, "width": 32}))


def write_dinov2(folder, kind="Dinov2"):
    import transformers

    config = getattr(transformers, f"{kind}Config")(hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                                                    image_size=28, patch_size=14)
    return write_network(folder, getattr(transformers, f"{kind}Model")(config),
                         transformers.BitImageProcessor(size={"shortest_edge": 32},
                                                        crop_size={"height": 28, "width": 28}))


def write_dinov2_with_registers(folder):
    return write_dinov2(folder, "Dinov2WithRegisters")


def write_blip(folder):
    from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering, BlipImageProcessor

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join([*WORDS, ""]))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    text = {**TEXT, "vocab_size": len(WORDS), "encoder_hidden_size": 16, "bos_token_id": WORDS.index("[DEC]"),
            "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0}
    return write_network(folder,
                         BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=VISION, projection_dim=8)),
                         BlipImageProcessor(size={"height": 32, "width": 32}))


WRITERS = {"clip": write_clip, "clip_vision_model": write_clip_vision, "siglip": write_siglip,
           "siglip_vision_model": write_siglip_vision, "dinov2": write_dinov2,
           "dinov2_with_registers": write_dinov2_with_registers, "blip": write_blip}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    logging.getLogger("transformers").setLevel(logging.ERROR)
    root = tmp_path_factory.mktemp("encoders")
    return {kind: write(root / kind) for kind, write in WRITERS.items()}


@pytest.fixture
def clip_folder(folders, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(folders["clip"], tmp_path / "copy")


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 40, 50, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def plain_clip(clip_folder):
    """A copy whose tokenizer is in the older form, with 60 words that are joined of letters."""
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (clip_folder / name).unlink(missing_ok=True)
    first, second = "abcdefghij", "uvwxyz"
    write_vocabulary(clip_folder, [(one, other + "</w>") for one in first for other in second])
    return clip_folder


@pytest.mark.parametrize("kind, width", [("clip", 8), ("clip_vision_model", 8), ("siglip", 16),
                                         ("siglip_vision_model", 16), ("dinov2", 16),
                                         ("dinov2_with_registers", 16), ("blip", 16)])
def test_embeddings_are_those_of_the_library(folders, images, kind, width):
    with torch.inference_mode():  # ComfyUI loads and runs its nodes so
        encoder = load_encoder(folders[kind])
        found = embed_images(encoder, images)
    assert encoder.kind == kind == check_folder(folders[kind]) and not encoder.network.training
    assert found.shape == (5, width) and found.dtype == torch.float32 and found.device.type == "cpu"
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))
    assert torch.cdist(found, found).add(torch.eye(5)).min() > 1e-3
    pixels = encoder.processor(images=[(image * 255).round().byte().permute(2, 0, 1)
                                       for image in images], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        if kind in ("clip", "siglip"):
            features = encoder.network.get_image_features(pixel_values=pixels)
            expected = features if isinstance(features, torch.Tensor) else features.pooler_output
        elif kind == "clip_vision_model":
            expected = encoder.network(pixel_values=pixels).image_embeds
        else:
            expected = (encoder.network.vision_model if kind == "blip"
                        else encoder.network)(pixel_values=pixels).pooler_output
    torch.testing.assert_close(found, F.normalize(expected, dim=1), rtol=0, atol=0.02)  # rounding to bytes


def test_batches_and_alpha_do_not_matter(folders, images, monkeypatch):
    encoder, shares = load_encoder(folders["clip"]), []
    reference = embed_images(encoder, images, shares.append)
    monkeypatch.setattr(_embed, "FIRST_BATCH", 2)
    torch.testing.assert_close(embed_images(encoder, images, shares.append), reference, rtol=1e-5, atol=1e-5)
    assert shares == [1.0, 0.4, 0.8, 1.0]
    opaque = torch.cat([images, torch.ones(5, 40, 50, 1)], dim=-1)
    torch.testing.assert_close(embed_images(encoder, opaque), reference, rtol=1e-5, atol=1e-5)


def test_texts_are_those_of_the_library(folders):
    encoder = load_encoder(folders["clip"])
    tokens = encoder.tokenizer(["dark", "a"], padding=True, return_tensors="pt")
    with torch.no_grad():
        features = encoder.network.get_text_features(**tokens)
    expected = features if isinstance(features, torch.Tensor) else features.pooler_output
    torch.testing.assert_close(embed_texts(encoder, ["dark", "a"]), F.normalize(expected, dim=1))
    torch.testing.assert_close(embed_texts(encoder, ["a"])[0], embed_texts(encoder, ["dark", "a"])[1])
    with pytest.raises(ValueError, match="reads at most 12: shorten it"):
        embed_texts(encoder, ["a b c d e f g h i j k l m"])
    for kind in ("clip_vision_model", "siglip_vision_model", "dinov2", "dinov2_with_registers", "blip"):
        with pytest.raises(ValueError,
                           match=f"{kind} model, which does not compare pictures with prompts: load a CLIP or SigLIP"):
            embed_texts(load_encoder(folders[kind]), ["dark", "light"])
    with pytest.raises(ValueError, match="has no tokenizer"):
        embed_texts(load_encoder(folders["siglip"]), ["dark", "light"])


@pytest.mark.parametrize("bad, message",
                         [(torch.zeros(0, 8, 8, 3), r"these are \(0, 8, 8, 3\)"), (torch.zeros(8, 8, 3), "shape"),
                          (torch.full((1, 8, 8, 3), float("nan")), "NaN")])
def test_bad_pictures(folders, bad, message):
    with pytest.raises(ValueError, match=message):
        embed_images(load_encoder(folders["dinov2"]), bad)


@pytest.mark.parametrize("name",
                         ["config.json", "preprocessor_config.json", "model.safetensors", "vocab.json", "merges.txt"])
def test_missing_files_are_named(plain_clip, name):
    (plain_clip / name).unlink()
    with pytest.raises(ValueError, match=f"has no {name}"):
        check_folder(plain_clip)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors", "tokenizer.json",
                                  "tokenizer_config.json", "vocab.json", "merges.txt"])
@pytest.mark.parametrize("kept", [0, 0.5, 0.98])
def test_truncated_files_are_named(request, name, kept):
    folder = request.getfixturevalue("plain_clip" if name in ("vocab.json", "merges.txt") else "clip_folder")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        check_folder(folder)


def test_a_tokenizer_in_the_older_form(plain_clip):
    tokenizer = load_encoder(plain_clip).tokenizer
    assert tokenizer.convert_ids_to_tokens(tokenizer("AU b")["input_ids"]) == ["<|startoftext|>", "au</w>", "b</w>",
                                                                               "<|endoftext|>"]


def test_a_tokenizer_that_is_not_the_networks(folders, tmp_path):
    blip = shutil.copytree(folders["blip"], tmp_path / "blip")
    for path in [path for path in blip.glob("*token*") if path.is_file()]:
        path.unlink()
    (blip / "vocab.txt").write_text("\n".join(WORDS[:9]))
    with pytest.raises(ValueError, match="has 9 tokens, but the network reads 18: copy the whole folder"):
        load_encoder(blip)


@pytest.mark.parametrize("content", ['{"version": "1.0"}', '{"version": "1.0", "model": {"type": "unheard of"}}'])
def test_what_the_tokenizers_library_cannot_read(clip_folder, content):
    (clip_folder / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match="copy cannot be read .*: copy the whole folder of copy again"):
        load_encoder(clip_folder)


def test_pictures_alone_need_no_tokenizer(folders, tmp_path, images):
    copied = shutil.copytree(folders["clip_vision_model"], tmp_path / "vision")
    (copied / "tokenizer.json").write_text("cut o")  # some folders bring one along, which is not read
    torch.testing.assert_close(embed_images(load_encoder(copied), images),
                               embed_images(load_encoder(folders["clip_vision_model"]), images))


def test_several_vectors_of_a_picture_are_averaged():
    tokens = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[1.0, 0.0], [1.0, 0.0]]])  # (N, T, D)
    found = encoders.unit_embeddings(torch.zeros(2, 4, 4, 3), lambda pictures: tokens)
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [1.0, 0.0]]))


def test_no_pickle(clip_folder):
    (clip_folder / "model.safetensors").unlink()
    torch.save({}, clip_folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="can run code when it is read: put model.safetensors there"):
        load_encoder(clip_folder)


def test_missing_tensors_are_not_filled_with_random_numbers(clip_folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(clip_folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, clip_folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lack 1 of the tensors .* visual_projection.weight"):
        load_encoder(clip_folder)


def test_weights_of_another_size(clip_folder):
    config = json.loads((clip_folder / "config.json").read_text())
    config["projection_dim"] = 12
    (clip_folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="copy cannot be read"):
        load_encoder(clip_folder)


def test_weights_in_parts(folders, tmp_path, images):
    whole = load_encoder(folders["clip"])
    split = shutil.copytree(folders["clip"], tmp_path / "split")
    (split / "model.safetensors").unlink()
    whole.network.save_pretrained(split, max_shard_size="30KB")
    assert len(list(split.glob("*.safetensors"))) > 1
    torch.testing.assert_close(embed_images(load_encoder(split), images), embed_images(whole, images))
    index = split / "model.safetensors.index.json"
    sorted(split.glob("*.safetensors"))[1].rename(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ValueError, match="which model.safetensors.index.json names"):
        load_encoder(split)
    index.write_text(json.dumps({"weight_map": {"visual_projection.weight": "../elsewhere.safetensors"}}))
    with pytest.raises(ValueError, match="outside its folder"):
        load_encoder(split)


@pytest.mark.parametrize("content, message", [
    ('{"model_type": "bert"}', "type 'bert'"), ("[]", "not a JSON object"), ("{}", "type None"),
    ('{"model_type": "siglip2"}', "NaFlex, of type 'siglip2'.*put a SigLIP 2 of one size"),
    ('{"model_type": "siglip2_vision_model"}', "NaFlex")])
def test_other_models(clip_folder, content, message):
    (clip_folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        check_folder(clip_folder)
    with pytest.raises(ValueError, match="no folder .*put an encoder's folder there"):
        check_folder(clip_folder / "nothing")
