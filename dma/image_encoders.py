"""Image encoders from folders in the format of the transformers library: CLIP, SigLIP, DINOv2 and BLIP-VQA.

Only files that lie in the folder are read: nothing is downloaded, no code from the folder runs, and weights are taken
from safetensors files alone.
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .batching import BatchSize

# The class of the transformers library for each `model_type` of a config.json.
NETWORKS = {"clip": "CLIPModel", "clip_vision_model": "CLIPVisionModelWithProjection", "siglip": "SiglipModel",
            "siglip_vision_model": "SiglipVisionModel", "dinov2": "Dinov2Model",
            "dinov2_with_registers": "Dinov2WithRegistersModel", "blip": "BlipForQuestionAnswering"}
READ_TEXT = ("clip", "siglip", "blip")
VARIABLE_SIZE = ("siglip2", "siglip2_vision_model")
WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")
TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
FIRST_BATCH = 16


@dataclass(frozen=True)
class ImageEncoder:
    """A network in evaluation mode with the preprocessing of its pictures and, if its folder has one, its tokenizer.

    `kind` is the `model_type` of the folder's config.json, one of NETWORKS.
    """

    name: str
    kind: str
    network: torch.nn.Module
    processor: Any
    tokenizer: Any | None

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device


def check_folder(folder: Path) -> str:
    """The kind of encoder in a folder, after every file that loading needs was found whole.

    Raises ValueError with a sentence on what is missing or damaged and what to put there.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}: put an encoder's folder there, with config.json, "
                         f"preprocessor_config.json and {WEIGHTS}.")
    kind = _read_json(folder, "config.json").get("model_type")
    if kind in VARIABLE_SIZE:
        raise ValueError(f"{folder.name}/config.json describes a SigLIP 2 for pictures of any size (NaFlex, of type "
                         f"{kind!r}), which takes them in another form: put a SigLIP 2 of one size there, whose "
                         "config.json says 'siglip'.")
    if kind not in NETWORKS:
        raise ValueError(f"{folder.name}/config.json describes a model of type {kind!r}: this node reads "
                         f"{', '.join(NETWORKS)}.")
    _read_json(folder, "preprocessor_config.json")
    for name in _weight_files(folder):
        _check_weights(folder, name)
    if kind in READ_TEXT:
        _check_tokenizer(folder)
    return kind


def load(folder: Path) -> ImageEncoder:
    """Read an encoder in fp32 onto the CPU.

    Raises ValueError if `check_folder` does, or if weights or tokenizer are not those that config.json describes.
    """
    kind = check_folder(folder)
    import transformers

    network_class = getattr(transformers, NETWORKS[kind])
    advice = f"copy the whole folder of {folder.name} again, all files from one release."
    try:
        network, loaded = network_class.from_pretrained(folder, local_files_only=True, use_safetensors=True,
                                                        output_loading_info=True)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True,
                                                                    trust_remote_code=False)
        tokenizer = None
        if kind in READ_TEXT and any((folder / name).is_file() for name in TOKENIZER_FILES):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True,
                                                                   trust_remote_code=False)
    except Exception as error:  # what tokenizers raise has no type of its own
        raise ValueError(f"{folder.name} cannot be read ({' '.join(str(error).split())[:300]}): {advice}") from error
    if loaded["missing_keys"]:
        # The library would go on with random numbers in their place.
        raise ValueError(f"The weights in {folder.name} lack {len(loaded['missing_keys'])} of the tensors that its "
                         f"config.json describes, among them {sorted(loaded['missing_keys'])[0]}: {advice}")
    # Some hold a few tokens less than the network, whose table is filled up.
    if tokenizer is not None and len(tokenizer) < 0.95 * (expected := network.config.text_config.vocab_size):
        raise ValueError(f"The tokenizer in {folder.name} has {len(tokenizer)} tokens, but the network reads "
                         f"{expected}: {advice}")
    return ImageEncoder(folder.name, kind, network.eval().float().requires_grad_(False), processor, tokenizer)


def embed_images(encoder: ImageEncoder, images: Tensor, after_batch: Callable[[float], None] | None = None) -> Tensor:
    """Unit-length embeddings (N, D), fp32 on the CPU, of pictures (N, H, W, 3) in [0, 1].

    CLIP: the projected class token; SigLIP: the attention-pooled token; DINOv2 and BLIP: the normalised class token.
    Raises ValueError for an empty batch or values that are not finite.
    """
    return unit_embeddings(images, lambda pictures: _picture_vectors(encoder, pixel_values(encoder, pictures)),
                           after_batch)


def unit_embeddings(images: Tensor, function: Callable[[Tensor], Tensor],
                    after_batch: Callable[[float], None] | None = None) -> Tensor:
    """What `function` makes of pictures (N, H, W, 3), a batch at a time, scaled to unit length: (N, D), fp32 on the
    CPU.

    Where it gives several vectors for a picture, (B, T, D), their mean is taken. `after_batch` is called with the share
    that is done.

    >>> unit_embeddings(torch.ones(3, 2, 2, 3), lambda pictures: pictures.mean(dim=(1, 2)))[0]
    tensor([0.5774, 0.5774, 0.5774])
    """
    def one_vector(pictures: Tensor) -> Tensor:
        found = function(pictures).float()  # (B, D) or (B, T, D)
        return (found.mean(1) if found.ndim == 3 else found).cpu()

    return F.normalize(torch.cat(over_batches(images, one_vector, after_batch)), dim=1)


@torch.no_grad()
def over_batches(images: Tensor, function: Callable[[Tensor], Any],
                 after_batch: Callable[[float], None] | None = None) -> list[Any]:
    """`function` of pictures (N, H, W, 3), a batch at a time, in order; batches get smaller when memory runs out."""
    check_images(images)
    results = []
    for rows, found in BatchSize(FIRST_BATCH).over(len(images), lambda rows: function(images[rows])):
        results.append(found)
        if after_batch is not None:
            after_batch(rows.stop / len(images))
    return results


def check_images(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[-1] < 3 or len(images) == 0:
        raise ValueError("Pictures have the shape (N, H, W, 3) with N at least 1, but these are "
                         f"{tuple(images.shape)}.")
    if not torch.isfinite(images).all():
        raise ValueError("The pictures contain NaN or infinity: look for the node that made them.")


def pixel_values(encoder: ImageEncoder, images: Tensor) -> Tensor:
    """Pictures (N, H, W, 3) in [0, 1] resized, cropped and normalised as the folder says: (N, 3, h, w) on the encoder's
    device."""
    batch = images[..., :3].float().clamp(0, 1).cpu().permute(0, 3, 1, 2)  # (N, 3, H, W)
    return encoder.processor(images=list(batch), do_rescale=False,
                             return_tensors="pt")["pixel_values"].to(encoder.device)


@torch.no_grad()
def embed_texts(encoder: ImageEncoder, texts: list[str]) -> Tensor:
    """Unit-length embeddings (T, D), fp32 on the CPU, in the space of the same CLIP's or SigLIP's pictures.

    Raises ValueError if the encoder has no text side, or for a text that is longer than it reads.
    """
    if encoder.kind not in ("clip", "siglip"):
        raise ValueError(f"{encoder.name} is a {encoder.kind} model, which does not compare pictures with prompts: "
                         "load a CLIP or SigLIP folder.")
    # SigLIP was trained on texts that are filled up to full length; CLIP does not see what follows the end of a text.
    tokens = tokenize(encoder, texts, "max_length" if encoder.kind == "siglip" else True)
    outputs = encoder.network.text_model(**tokens).pooler_output  # (T, width)
    if encoder.kind == "clip":
        outputs = encoder.network.text_projection(outputs)
    return F.normalize(outputs.float().cpu(), dim=1)


def tokenize(encoder: ImageEncoder, texts: list[str], padding: str | bool) -> dict[str, Tensor]:
    """Token ids and, where the network takes one, attention mask (T, length) on the encoder's device."""
    if encoder.tokenizer is None:
        raise ValueError(f"The folder {encoder.name} has no tokenizer: add its tokenizer.json, or vocab.json and "
                         "merges.txt (CLIP), vocab.txt (BLIP), spiece.model (SigLIP), with tokenizer_config.json.")
    longest = encoder.network.config.text_config.max_position_embeddings
    for text in texts:
        length = len(encoder.tokenizer(text)["input_ids"])
        if length > longest:
            raise ValueError(f"{text!r} has {length} tokens, but {encoder.name} reads at most {longest}: shorten it.")
    tokens = encoder.tokenizer(texts, padding=padding, max_length=longest if padding == "max_length" else None,
                               return_tensors="pt")
    names = ("input_ids",) if encoder.kind == "siglip" else ("input_ids", "attention_mask")
    return {name: tokens[name].to(encoder.device) for name in names}


def _picture_vectors(encoder: ImageEncoder, pixels: Tensor) -> Tensor:
    """One vector for each preprocessed picture (B, 3, h, w): (B, D)."""
    # Asked from the parts, because get_image_features returns a tensor in some versions of the library and a record in
    # others.
    vision = getattr(encoder.network, "vision_model", encoder.network)
    pooled = vision(pixel_values=pixels).pooler_output  # (B, width)
    return encoder.network.visual_projection(pooled) if encoder.kind in ("clip", "clip_vision_model") else pooled


def _read_json(folder: Path, name: str) -> dict:
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


def _weight_files(folder: Path) -> list[str]:
    if (folder / WEIGHTS).exists():
        return [WEIGHTS]
    if (folder / WEIGHTS_INDEX).exists():
        parts = _read_json(folder, WEIGHTS_INDEX).get("weight_map")
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
    found = {name: _read_json(folder, name) for name in (*present, *settings) if name.endswith(".json")}
    if "tokenizer.json" in found:
        return  # it holds all that the others do
    if "merges.txt" in present or "vocab.json" in found:
        _check_merges(folder, found["vocab.json"] if "vocab.json" in found else _read_json(folder, "vocab.json"))


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
