import json
import shutil

import pytest
import torch
from encoder_folders import WORDS

from mental_averages.dma.encoders import embed_images, load_encoder, pixel_values


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


def test_networks_are_ready_to_read(clip, images):
    assert clip.kind == "clip" and clip.device.type == "cpu" and not clip.network.training
    assert not any(parameter.requires_grad for parameter in clip.network.parameters())
    assert {parameter.dtype for parameter in clip.network.parameters()} == {torch.float32}
    assert pixel_values(clip, images).shape == (5, 3, 32, 32)
