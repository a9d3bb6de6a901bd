"""Folders that `load_encoder` reads, out of the files that DreamSim's and ImageReward's authors publish.

Weights are read with torch's reader of plain tensors, which runs no code, and written as safetensors.
"""
from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import replacing
from ._dreamsim import dreamsim_network
from ._image_reward_network import image_reward_network

PART = re.compile(r"blocks\.(\d+)\.([\w.]+?)\.lora_([AB])(?:\.default)?\.weight$")
HEAD_WIDTH = 64  # of every published ViT of these families
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])


def write_dreamsim(backbone: Path, adapter: Path, folder: Path) -> None:
    """Write the DINO branch of DreamSim: `backbone` is DINO's own file of a ViT (dino_vitbase16_pretrain.pth),
    `adapter` the folder dino_vitb16_single_lora of DreamSim's archive dreamsim_dino_vitb16_checkpoint.zip, `folder` is
    made.

    The adapter is merged, W + alpha / r B A. Raises ValueError where a file is missing, damaged or of another model.
    """
    weights = read_tensors(backbone)
    settings = _json(adapter / "adapter_config.json")
    for name, value in (("use_rslora", False), ("use_dora", False), ("fan_in_fan_out", False)):
        if settings.get(name, value) != value:
            raise ValueError(f"{adapter.name} has {name} set, which is not how DreamSim was published.")
    vision = vision_config(weights, "", backbone.name)
    merged = merged_adapter(weights, _adapter_tensors(adapter), settings["lora_alpha"] / settings["r"])
    config = {"model_type": "dreamsim", "branch": "dino_vitb16", "vision": vision}
    kept = {f"vision.{name}": tensor for name, tensor in merged.items()
            if not name.startswith(("norm.", "head."))}  # not asked by DreamSim
    size = {"height": vision["size"], "width": vision["size"]}
    processor = _processor("ViTImageProcessor", IMAGENET, size=size)
    _write(folder, config, processor, kept, dreamsim_network(config), backbone.name)


def write_image_reward(weights: Path, settings: Path, vocabulary: Path, folder: Path) -> None:
    """Write ImageReward out of ImageReward.pt, its med_config.json and BERT's vocab.txt (bert-base-uncased).

    Raises ValueError where a file is missing, damaged or of another model.
    """
    tensors, text = read_tensors(weights), _json(settings)
    words = _text(vocabulary).splitlines()
    vision = vision_config(tensors, "blip.visual_encoder.", weights.name)
    # The published model has two marks more than BERT.
    words += [mark for mark in ("[DEC]", "[ENC]") if mark not in words]
    name = "blip.text_encoder.embeddings.word_embeddings.weight"
    if name not in tensors or len(words) > len(tensors[name]):
        raise ValueError(f"{vocabulary.name} has {len(words)} words, but {weights.name} "
                         f"{len(tensors[name]) if name in tensors else 'none'}: they are not of one model.")
    config = {"model_type": "image_reward", "vision": vision, "text": {
        "vocabulary": len(tensors[name]), "longest": text["max_position_embeddings"], "width": text["hidden_size"],
        "depth": text["num_hidden_layers"], "heads": text["num_attention_heads"], "inner": text["intermediate_size"],
        "epsilon": text["layer_norm_eps"]}}
    network = image_reward_network(config)
    kept = {key: tensors[key] for key in network.state_dict() if key in tensors}
    size = vision["size"]
    _write(folder, config, _processor("CLIPImageProcessor", CLIP, size={"shortest_edge": size}, do_center_crop=True,
                                      crop_size={"height": size, "width": size}), kept, network, weights.name)
    with replacing(folder / "vocab.txt") as temporary:
        temporary.write_text("\n".join([*words, ""]), encoding="utf-8")
    _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True})


def vision_config(tensors: Mapping[str, Tensor], prefix: str, name: str) -> dict[str, int]:
    """The size of the vision transformer whose tensors' names begin with `prefix`."""
    needed = [f"{prefix}{each}" for each in ("cls_token", "pos_embed", "patch_embed.proj.weight")]
    missing = [each for each in needed if each not in tensors]
    if missing:
        raise ValueError(f"{name} has no tensor {missing[0]}: it is not the file that is published under this name.")
    width, patch = tensors[needed[0]].shape[-1], tensors[needed[2]].shape[-1]
    depth = len({key.removeprefix(prefix).split(".")[1] for key in tensors if key.startswith(f"{prefix}blocks.")})
    side = round((tensors[needed[1]].shape[1] - 1) ** 0.5)
    return {"width": width, "depth": depth, "heads": width // HEAD_WIDTH, "patch": patch, "size": side * patch}


def merged_adapter(weights: Mapping[str, Tensor], adapter: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Weights with a LoRA added, W + scale B A for each pair in `adapter`.

    >>> weights = {"blocks.0.attn.qkv.weight": torch.zeros(2, 2)}
    >>> parts = {f"x.blocks.0.attn.qkv.lora_{name}.weight": torch.ones(shape)
    ...          for name, shape in (("A", (1, 2)), ("B", (2, 1)))}
    >>> merged_adapter(weights, parts, 0.5)["blocks.0.attn.qkv.weight"].tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, tensor in adapter.items():
        found = PART.search(name)
        target = f"blocks.{found[1]}.{found[2]}.weight" if found else ""
        if not found or target not in weights:
            raise ValueError(f"The adapter's tensor {name} belongs to no block of the backbone: they are not of one "
                             "model.")
        pairs.setdefault(target, {})[found[3]] = tensor
    merged = dict(weights)
    for target, pair in pairs.items():
        if pair.keys() != {"A", "B"}:
            raise ValueError(f"The adapter has only one half of its pair for {target}: it is damaged.")
        merged[target] = weights[target].float() + scale * pair["B"].float() @ pair["A"].float()
    return merged


def _adapter_tensors(adapter: Path) -> dict[str, Tensor]:
    if (adapter / "adapter_model.safetensors").is_file():
        from safetensors.torch import load_file

        return load_file(adapter / "adapter_model.safetensors")
    return read_tensors(adapter / "adapter_model.bin")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file that torch has written, read without running code. Raises ValueError for a file that
    is missing or damaged, or holds anything else."""
    if not path.is_file():
        raise ValueError(f"There is no file {path}: get it from where the model is published.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises has no type of its own
        raise ValueError(f"{path.name} is damaged, or holds more than plain tensors "
                         f"({' '.join(str(error).split())[:200]}): get it again.") from error
    if not isinstance(found, dict) or not all(isinstance(each, Tensor) for each in found.values()):
        raise ValueError(f"{path.name} is no list of named tensors: it is not the file that is published under this "
                         "name.")
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name} is damaged ({error}): get it again.") from None
    return found


def _text(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"There is no file {path}: get it from where the model is published.")
    return path.read_text(encoding="utf-8")


def _processor(kind: str, statistics: tuple[list[float], list[float]], **size: Any) -> dict[str, Any]:
    return {"image_processor_type": kind, "do_resize": True, "resample": 3, "do_rescale": True, "do_normalize": True,
            "image_mean": statistics[0], "image_std": statistics[1], **size}


def _write(folder: Path, config: dict, processor: dict, tensors: dict[str, Tensor], network: torch.nn.Module,
           source: str) -> None:
    """Write config, processor and tensors, if they are those of the network."""
    from safetensors.torch import save_file

    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    wrong = [name for name in expected if name not in tensors or tensors[name].shape != expected[name]]
    if wrong or tensors.keys() - expected.keys():
        name = (wrong or sorted(tensors.keys() - expected.keys()))[0]
        raise ValueError(f"The tensor {name} of {source} is missing, of another shape, or one too many: it is not the "
                         "file that is published under this name.")
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "model.safetensors") as temporary:
        save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, temporary)
    _write_json(folder / "config.json", config)
    _write_json(folder / "preprocessor_config.json", processor)


def _write_json(path: Path, content: dict) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
