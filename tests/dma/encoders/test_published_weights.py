"""Folders out of published files: whole ones load, and others are refused in a sentence and leave nothing behind."""
import json

import pytest
import torch
from published_models import (
    ADAPTER,
    WORDS,
    dino,
    image_reward,
    lora,
    write_dreamsim_files,
    write_image_reward_files,
)

import convert_weights
from console import Explained
from mental_averages.dma import encoders
from mental_averages.dma.encoders._published_weights import merged_adapter, vision_config


@pytest.fixture
def files(tmp_path):
    return {"dreamsim": [*write_dreamsim_files(tmp_path / "one")],
            "image_reward": write_image_reward_files(tmp_path / "two")}


WRITE = {"dreamsim": encoders.write_dreamsim, "image_reward": encoders.write_image_reward}


@pytest.mark.parametrize("kind", WRITE)
def test_folders_are_whole_and_load(files, kind, tmp_path):
    WRITE[kind](*files[kind], tmp_path / "folder")
    assert encoders.check_folder(tmp_path / "folder") == kind
    encoder = encoders.load_encoder(tmp_path / "folder")
    assert encoder.kind == kind and (encoder.tokenizer is not None) == (kind == "image_reward")
    assert not encoder.network.training


def test_the_command_does_the_same_and_explains_what_is_wrong(files, tmp_path, capsys):
    arguments = [str(each) for each in (*files["image_reward"], tmp_path / "folder")]
    assert convert_weights.main(["image_reward", *arguments]) == 0 and "is ready" in capsys.readouterr().out
    assert encoders.check_folder(tmp_path / "folder") == "image_reward"
    with pytest.raises(Explained, match="There is no file"):
        convert_weights.main(["dreamsim", str(tmp_path / "none.pth"), str(tmp_path), str(tmp_path / "other")])


def test_an_adapter_is_merged():
    weights, adapter = dino(), lora()
    merged = merged_adapter(weights, adapter, ADAPTER["lora_alpha"] / ADAPTER["r"])
    for block in (0, 11):
        name = f"base_model.model.extractor_list.0.model.blocks.{block}.attn.qkv.lora"
        expected = (weights[f"blocks.{block}.attn.qkv.weight"]
                    + 0.5 * adapter[f"{name}_B.weight"] @ adapter[f"{name}_A.weight"])
        torch.testing.assert_close(merged[f"blocks.{block}.attn.qkv.weight"], expected)
    assert torch.equal(merged["blocks.3.mlp.fc1.weight"], weights["blocks.3.mlp.fc1.weight"])


def test_the_size_of_a_vision_transformer_is_read_off_its_tensors():
    assert vision_config(dino(), "", "x") == {"width": 128, "depth": 12, "heads": 2, "patch": 16, "size": 224}


def saved(path, tensors):
    torch.save(tensors, path)


def without(tensors, name):
    return {key: tensor for key, tensor in tensors.items() if key != name}


DAMAGED = [
    ("dreamsim", 0, lambda path: path.unlink(), "There is no file .*dino_vitbase16_pretrain.pth"),
    ("dreamsim", 0, lambda path: path.write_bytes(path.read_bytes()[:5000]), "pretrain.pth is damaged"),
    ("dreamsim", 0, lambda path: saved(path, {"student": dino()}), "no list of named tensors"),
    ("dreamsim", 0, lambda path: saved(path, without(dino(), "cls_token")), "has no tensor cls_token"),
    ("dreamsim", 0, lambda path: saved(path, without(dino(), "blocks.2.norm1.bias")), "norm1.bias of .* missing"),
    ("dreamsim", 0, lambda path: saved(path, dino() | {"extra": torch.ones(1)}), "vision.extra of .* one too many"),
    ("dreamsim", 1, lambda path: (path / "adapter_config.json").unlink(), "There is no file .*adapter_config.json"),
    ("dreamsim", 1, lambda path: (path / "adapter_config.json").write_text("{"), "adapter_config.json is damaged"),
    ("dreamsim", 1, lambda path: (path / "adapter_config.json").write_text(json.dumps({**ADAPTER, "use_dora": True})),
     "has use_dora set"),
    ("dreamsim", 1, lambda path: (path / "adapter_model.safetensors").unlink(), "There is no file .*adapter_model.bin"),
    ("image_reward", 0, lambda path: saved(path, without(image_reward(), "mlp.layers.6.bias")), "mlp.layers.6.bias of"),
    ("image_reward", 0, lambda path: saved(path, dino()), "has no tensor blip.visual_encoder.cls_token"),
    ("image_reward", 1, lambda path: path.write_text("no json"), "med_config.json is damaged"),
    ("image_reward", 1, lambda path: path.unlink(), "There is no file .*med_config.json"),
    ("image_reward", 2, lambda path: path.write_text("\n".join([*WORDS, *map(str, range(40))])), "not of one model"),
]


@pytest.mark.parametrize("kind, which, damage, complaint", DAMAGED)
def test_files_that_are_missing_or_damaged_are_told(files, kind, which, damage, complaint, tmp_path):
    damage(files[kind][which])
    with pytest.raises(ValueError, match=complaint):
        WRITE[kind](*files[kind], tmp_path / "folder")
    assert not (tmp_path / "folder" / "config.json").exists()


def test_an_adapter_of_another_model_is_refused():
    weights = {"blocks.0.attn.qkv.weight": torch.zeros(2, 2)}
    with pytest.raises(ValueError, match="belongs to no block"):
        merged_adapter(weights, {"blocks.1.attn.qkv.lora_A.weight": torch.ones(1, 2)}, 1.0)
    with pytest.raises(ValueError, match="only one half"):
        merged_adapter(weights, {"blocks.0.attn.qkv.lora_A.weight": torch.ones(1, 2)}, 1.0)


def test_code_in_a_file_is_not_run(files, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    torch.save({"cls_token": Evil()}, files["dreamsim"][0])
    with pytest.raises(ValueError, match="damaged, or holds more than plain tensors"):
        encoders.write_dreamsim(*files["dreamsim"], tmp_path / "folder")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage, complaint", [
    (lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 40), "damaged or was cut off"),
    (lambda folder: (folder / "preprocessor_config.json").unlink(), "has no preprocessor_config.json")])
def test_folders_that_are_no_longer_whole_are_told(files, tmp_path, damage, complaint):
    folder = tmp_path / "folder"
    encoders.write_dreamsim(*files["dreamsim"], folder)
    damage(folder)
    with pytest.raises(ValueError, match=complaint):
        encoders.load_encoder(folder)


def test_a_folder_with_weights_of_another_model_is_told(files, tmp_path):
    one, other = tmp_path / "dreamsim", tmp_path / "image_reward"
    encoders.write_dreamsim(*files["dreamsim"], one)
    encoders.write_image_reward(*files["image_reward"], other)
    (one / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="is no tensor of this model"):
        encoders.load_encoder(one)
