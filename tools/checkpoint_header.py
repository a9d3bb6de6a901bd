"""What the header of a .safetensors checkpoint tells of its model.

Only the standard library is needed here.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from console import Explained

LONGEST_HEADER = 100_000_000
# Where ComfyUI's loader looks for a diffusion model in a checkpoint.
PREFIXES = ("model.diffusion_model.", "model.model.", "net.", "model.", "")
# Side of the pictures that a model was made for, by a tensor that only models of its kind have.
SIZES = {
    "joint_blocks.": 1024,  # Stable Diffusion 3
    "double_blocks.": 1024,  # Flux, Chroma
    "double_layers.": 1024,  # AuraFlow
    "mlp_t5.": 1024,  # HunyuanDiT
    "noise_refiner.": 1024,  # Lumina 2, Z-Image
    "txt_norm.": 1328,  # Qwen-Image
    "ar_embedder.": 1024,  # PixArt-alpha for many sizes
    "label_emb.": 1024,  # SDXL and its refiner
}
PIXART, PIXART_PATCH = "t_block.", 16  # pixels of a picture along a patch of its latent
DEFAULT_SIZE = 512
# Stable Diffusion 2 reads this text width. Its models for 768 pixels predict v; ComfyUI tells them by the spread of
# one of their biases, and so does this.
WIDTH_OF_SD2, WIDTH_TENSOR = 1024, "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
V_TENSOR, V_SPREAD, SIZE_OF_V = "output_blocks.11.1.transformer_blocks.0.norm1.bias", 0.09, 768
FORMATS = {"F16": "e", "F32": "f", "F64": "d"}


def read_header(checkpoint: Path) -> dict[str, Any]:
    """The tensors of a safetensors file by name, each with its dtype, shape and place.

    Raises `Explained` for a file that is not one, or not all of one.
    """
    try:
        with open(checkpoint, "rb") as file:
            length, = struct.unpack("<Q", file.read(8))
            if length > LONGEST_HEADER:
                raise ValueError
            text = file.read(length)
        if len(text) < length:
            raise ValueError
        header = json.loads(text)
        return {name: tensor for name, tensor in header.items() if name != "__metadata__"}
    except (ValueError, AttributeError, struct.error):
        raise Explained(f"{checkpoint} is not a complete safetensors file. Download it again?") from None


def picture_size(checkpoint: Path) -> int:
    """The width and height in pixels that the model of a checkpoint was made for, judged by its kind."""
    header = read_header(checkpoint)
    prefix = next(prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in header) or not prefix)
    network = {name.removeprefix(prefix): tensor for name, tensor in header.items() if name.startswith(prefix)}
    for beginning, size in SIZES.items():
        if any(name.startswith(beginning) for name in network):
            return size
    if any(name.startswith(PIXART) for name in network):
        place = network.get("pos_embed")  # (1, patches, width), where the file has it
        return PIXART_PATCH * math.isqrt(place["shape"][1]) if place else 1024
    if network.get(WIDTH_TENSOR, {}).get("shape", [0])[-1] == WIDTH_OF_SD2:
        values = read_values(checkpoint, network.get(V_TENSOR))
        mean = sum(values) / max(1, len(values))
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values)))
        return SIZE_OF_V if spread > V_SPREAD else DEFAULT_SIZE
    return DEFAULT_SIZE


def read_values(checkpoint: Path, tensor: dict[str, Any] | None) -> list[float]:
    """The numbers of a small tensor of a checkpoint; none for one that is not there or of another kind of number."""
    if tensor is None or tensor["dtype"] not in (*FORMATS, "BF16"):
        return []
    with open(checkpoint, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        begin, end = tensor["data_offsets"]
        file.seek(8 + length + begin)
        data = file.read(end - begin)
    if tensor["dtype"] == "BF16":  # the upper half of a number of 32 bits
        data = b"".join(b"\0\0" + data[place : place + 2] for place in range(0, len(data), 2))
    kind = FORMATS.get(tensor["dtype"], "f")
    return list(struct.unpack(f"<{len(data) // struct.calcsize(kind)}{kind}", data))
