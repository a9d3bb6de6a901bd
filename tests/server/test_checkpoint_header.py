"""What a checkpoint's header tells of its model."""
import json
import struct

import pytest

import checkpoint_header
from console import Explained

NETWORK = "model.diffusion_model."
SD2 = {"input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 1024]}
V_BIAS = "output_blocks.11.1.transformer_blocks.0.norm1.bias"


def written(folder, shapes, values=None, kind="F16", prefix=NETWORK):
    """A checkpoint with tensors of these shapes, of which only one has its numbers in the file."""
    data, header = b"", {"__metadata__": {"format": "pt"}}
    for name, shape in shapes.items():
        header[prefix + name] = {"dtype": "F16", "shape": shape, "data_offsets": [0, 0]}
    if values is not None:
        data = (b"".join(struct.pack("<f", value)[2:] for value in values) if kind == "BF16"
                else struct.pack(f"<{len(values)}{checkpoint_header.FORMATS[kind]}", *values))
        header[prefix + V_BIAS] = {"dtype": kind, "shape": [len(values)], "data_offsets": [6, 6 + len(data)]}
        data = b"before" + data
    text = json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.mark.parametrize("shapes, size", [
    ({"input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 768]}, 512),
    ({"label_emb.0.0.weight": [1280, 2816]}, 1024), ({"joint_blocks.0.context_block.attn.qkv.weight": [1, 1]}, 1024),
    ({"double_blocks.0.img_attn.qkv.weight": [1, 1]}, 1024), ({"double_layers.0.attn.w1q.weight": [1, 1]}, 1024),
    ({"noise_refiner.0.attention.k_norm.weight": [1], "cap_embedder.1.weight": [1, 2304]}, 1024),
    ({"mlp_t5.0.weight": [1, 1]}, 1024), ({"txt_norm.weight": [3584]}, 1328),
    ({"t_block.1.weight": [1, 1], "ar_embedder.mlp.0.weight": [1, 1]}, 1024),
    ({"t_block.1.weight": [1, 1], "pos_embed": [1, 1024, 1152]}, 512),
    ({"t_block.1.weight": [1, 1], "pos_embed": [1, 4096, 1152]}, 1024),
    ({"t_block.1.weight": [1, 1], "pos_embed": [1, 16384, 1152]}, 2048), ({"t_block.1.weight": [1, 1]}, 1024)],
    ids=["SD1", "SDXL", "SD3", "Flux", "AuraFlow", "Lumina 2", "HunyuanDiT", "Qwen-Image", "PixArt-alpha",
         "PixArt 512", "PixArt-sigma", "PixArt-sigma 2K", "PixArt"])
def test_pictures_have_the_size_that_a_model_was_made_for(tmp_path, shapes, size):
    assert checkpoint_header.picture_size(written(tmp_path, shapes)) == size
    assert checkpoint_header.picture_size(written(tmp_path, shapes, prefix="model.")) == size


@pytest.mark.parametrize("kind", ["F16", "F32", "F64", "BF16"])
def test_stable_diffusion_2_for_768_pixels_is_told_as_comfyui_tells_it(tmp_path, kind):
    assert checkpoint_header.picture_size(written(tmp_path, SD2, [0.25, -0.25] * 160, kind)) == 768
    assert checkpoint_header.picture_size(written(tmp_path, SD2, [0.0625, -0.0625] * 160, kind)) == 512
    assert checkpoint_header.picture_size(written(tmp_path, SD2)) == 512


@pytest.mark.parametrize("content", [b"", b"short", struct.pack("<Q", 10**12) + b"{}", struct.pack("<Q", 2) + b"[]",
                                     struct.pack("<Q", 50) + b"{}"])
def test_files_that_are_no_checkpoints(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(Explained, match="not a complete safetensors file"):
        checkpoint_header.picture_size(path)
