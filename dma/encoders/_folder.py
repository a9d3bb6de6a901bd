"""Whether a folder in the format of the transformers library holds an image encoder, whole."""
from __future__ import annotations

import json
import re
from pathlib import Path

# The class of the transformers library for each `model_type` of a config.json.
NETWORKS = {"clip": "CLIPModel", "clip_vision_model": "CLIPVisionModelWithProjection", "siglip": "SiglipModel",
            "siglip_vision_model": "SiglipVisionModel", "dinov2": "Dinov2Model",
            "dinov2_with_registers": "Dinov2WithRegistersModel", "blip": "BlipForQuestionAnswering"}
OWN_NETWORKS = ("dreamsim", "image_reward")  # this library's, in folders that it writes itself
READ_TEXT = ("clip", "siglip", "blip", "image_reward")
VARIABLE_SIZE = ("siglip2", "siglip2_vision_model")
WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")
TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def check_folder(folder: Path) -> str:
    """The kind of encoder in a folder, after every file that loading needs was found whole.

    Raises ValueError with a sentence on what is missing or damaged and what to put there.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}: put an encoder's folder there, with config.json, "
                         f"preprocessor_config.json and {WEIGHTS}.")
    kind = read_json(folder, "config.json").get("model_type")
    if kind in VARIABLE_SIZE:
        raise ValueError(f"{folder.name}/config.json describes a SigLIP 2 for pictures of any size (NaFlex, of type "
                         f"{kind!r}), which takes them in another form: put a SigLIP 2 of one size there, whose "
                         "config.json says 'siglip'.")
    if kind not in (*NETWORKS, *OWN_NETWORKS):
        raise ValueError(f"{folder.name}/config.json describes a model of type {kind!r}: the types that can be "
                         f"read are {', '.join((*NETWORKS, *OWN_NETWORKS))}.")
    read_json(folder, "preprocessor_config.json")
    for name in weight_files(folder):
        _check_weights(folder, name)
    if kind in READ_TEXT:
        _check_tokenizer(folder)
    return kind


def read_json(folder: Path, name: str) -> dict:
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"The folder {folder.name} has no {name}: copy it from where the encoder comes from.") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder.name}/{name} is damaged ({error}): copy it again.") from None
    if not isinstance(found, dict):
        raise ValueError(f"{folder.name}/{name} is damaged (not a JSON object): copy it again.")
    return found


def weight_files(folder: Path) -> list[str]:
    if (folder / WEIGHTS).exists():
        return [WEIGHTS]
    if (folder / WEIGHTS_INDEX).exists():
        parts = read_json(folder, WEIGHTS_INDEX).get("weight_map")
        if not isinstance(parts, dict) or not parts:
            raise ValueError(f"{folder.name}/{WEIGHTS_INDEX} is damaged (no weight_map): copy it again.")
        names = sorted({str(name) for name in parts.values()})
        for name in names:
            if Path(name).name != name:
                raise ValueError(f"{folder.name}/{WEIGHTS_INDEX} names a file outside its folder ({name!r}): this "
                                 "folder is not to be trusted.")
        return names
    others = [name for name in ("pytorch_model.bin", "model.bin", "tf_model.h5", "flax_model.msgpack")
              if (folder / name).exists()]
    if others:
        raise ValueError(f"The folder {folder.name} has its weights as {others[0]} only, which can run code when it is "
                         f"read: put {WEIGHTS} there.")
    raise ValueError(f"The folder {folder.name} has no {WEIGHTS}: put the encoder's weights there.")


def _check_weights(folder: Path, name: str) -> None:
    from safetensors import SafetensorError, safe_open

    if not (folder / name).is_file():
        raise ValueError(f"The folder {folder.name} has no {name}, which {WEIGHTS_INDEX} names: copy it again.")
    try:
        with safe_open(folder / name, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{folder.name}/{name} is damaged or was cut off ({error}): copy it again.") from None


def _check_tokenizer(folder: Path) -> None:
    """Raise ValueError if a file of the tokenizer is damaged or lacks its fellow; a folder may have none."""
    present = [name for name in (*TOKENIZER_FILES, "merges.txt") if (folder / name).exists()]
    for name in present:
        if (folder / name).stat().st_size == 0:
            raise ValueError(f"{folder.name}/{name} is damaged (it is empty): copy it again.")
    settings = [name for name in TOKENIZER_SETTINGS if (folder / name).exists()]
    found = {name: read_json(folder, name) for name in (*present, *settings) if name.endswith(".json")}
    if "tokenizer.json" in found:
        return  # it holds all that the others do
    if "merges.txt" in present or "vocab.json" in found:
        _check_merges(folder, found["vocab.json"] if "vocab.json" in found else read_json(folder, "vocab.json"))


def _check_merges(folder: Path, vocabulary: dict) -> None:
    """Raise ValueError unless merges.txt makes every token of the vocabulary that is longer than a letter.

    Where the end of the list is cut off, words would be read as other tokens without a sign of it.
    """
    try:
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ValueError(f"The folder {folder.name} has no merges.txt, which belongs to its vocab.json: copy it from "
                         "where the encoder comes from.") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder.name}/merges.txt is damaged ({error}): copy it again.") from None
    made = {line.replace(" ", "", 1) for line in lines if line and not line.startswith("#version")}
    # A mark such as <|endoftext|> is one token from the start.
    words = {token for token in vocabulary if len(token.removesuffix("</w>")) > 1
             and not re.fullmatch(r"<.+>|\[.+\]", token)}
    if not words <= made:
        raise ValueError(f"{folder.name}/merges.txt is damaged or not of its vocab.json (nothing makes "
                         f"{min(words - made)!r}): copy both again.")
