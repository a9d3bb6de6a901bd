"""Image encoders from folders in the format of the transformers library: CLIP, SigLIP, DINOv2 and BLIP-VQA; and
DreamSim and ImageReward, in folders of the same kind.

Only files that lie in the folder are read: nothing is downloaded, no code from the folder runs, and weights are taken
from safetensors files alone.
"""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ._dreamsim import dreamsim_network
from ._folder import NETWORKS, OWN_NETWORKS, READ_TEXT, TOKENIZER_FILES, check_folder, read_json, weight_files
from ._image_reward_network import image_reward_network


@dataclass(frozen=True)
class ImageEncoder:
    """A network in evaluation mode with the preprocessing of its pictures and, if its folder has one, its tokenizer.

    `kind` is the `model_type` of the folder's config.json, one of NETWORKS or OWN_NETWORKS.
    """

    name: str
    kind: str
    network: Any  # a torch.nn.Module, whose parts differ from kind to kind
    processor: Any
    tokenizer: Any  # None without one

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device


def load_encoder(folder: Path) -> ImageEncoder:
    """Read an encoder in fp32 onto the CPU.

    Raises ValueError if `check_folder` does, or if weights or tokenizer are not those that config.json describes.
    """
    kind = check_folder(folder)
    import transformers

    advice = f"copy the whole folder of {folder.name} again, all files from one release."
    try:
        network, missing = own_network(folder, kind) if kind in OWN_NETWORKS else library_network(folder, kind)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True,
                                                                    trust_remote_code=False)
        tokenizer = None
        if kind in READ_TEXT and any((folder / name).is_file() for name in TOKENIZER_FILES):
            # What tells the library's own choice apart is unknown to it for these folders.
            tokenizers = transformers.BertTokenizer if kind in OWN_NETWORKS else transformers.AutoTokenizer
            tokenizer = tokenizers.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # what tokenizers raise has no type of its own
        raise ValueError(f"{folder.name} cannot be read ({' '.join(str(error).split())[:300]}): {advice}") from error
    if missing:
        # The library would go on with random numbers in their place.
        raise ValueError(f"The weights in {folder.name} lack {len(missing)} of the tensors that its config.json "
                         f"describes, among them {sorted(missing)[0]}: {advice}")
    # Some hold a few tokens less than the network, whose table is filled up.
    if tokenizer is not None and len(tokenizer) < 0.95 * (expected := vocabulary_of(kind, network)):
        raise ValueError(f"The tokenizer in {folder.name} has {len(tokenizer)} tokens, but the network reads "
                         f"{expected}: {advice}")
    return ImageEncoder(folder.name, kind, network.eval().float().requires_grad_(False), processor, tokenizer)


def library_network(folder: Path, kind: str) -> tuple[Any, Collection[str]]:
    """A network of the transformers library, and the names of tensors that its files lack."""
    import transformers

    network, loaded = getattr(transformers, NETWORKS[kind]).from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True)
    return network, loaded["missing_keys"]


def own_network(folder: Path, kind: str) -> tuple[Any, Collection[str]]:
    """A network of this library, and the names of tensors that its file lacks. Raises RuntimeError for others."""
    from safetensors.torch import load_file

    make = {"dreamsim": dreamsim_network, "image_reward": image_reward_network}[kind]
    network, tensors = make(read_json(folder, "config.json")), {}
    for name in weight_files(folder):
        tensors |= load_file(folder / name)
    found = network.load_state_dict(tensors, strict=False)
    if found.unexpected_keys:
        raise RuntimeError(f"{found.unexpected_keys[0]} is no tensor of this model")
    return network, found.missing_keys


def vocabulary_of(kind: str, network: Any) -> int:
    """How many tokens a network reads."""
    if kind in OWN_NETWORKS:
        return network.blip["text_encoder"].embeddings["word_embeddings"].num_embeddings
    return network.config.text_config.vocab_size


def pixel_values(encoder: ImageEncoder, images: Tensor) -> Tensor:
    """Pictures (N, H, W, 3) in [0, 1] resized, cropped and normalised as the folder says: (N, 3, h, w) on the encoder's
    device."""
    batch = images[..., :3].float().clamp(0, 1).cpu().permute(0, 3, 1, 2)  # (N, 3, H, W)
    return encoder.processor(images=list(batch), do_rescale=False,
                             return_tensors="pt")["pixel_values"].to(encoder.device)


def check_texts(encoder: ImageEncoder, texts: list[str]) -> None:
    """Raise ValueError for an encoder without a tokenizer, and for a text that is longer than it reads."""
    if encoder.tokenizer is None:
        raise ValueError(f"The folder {encoder.name} has no tokenizer: add its tokenizer.json, or vocab.json and "
                         "merges.txt (CLIP), vocab.txt (BLIP), spiece.model (SigLIP), with tokenizer_config.json.")
    longest = encoder.network.config.text_config.max_position_embeddings
    for text, read in zip(texts, as_read(encoder, texts)):
        length = len(encoder.tokenizer(read)["input_ids"])
        if length > longest:
            raise ValueError(f"{text!r} has {length} tokens, but {encoder.name} reads at most {longest}: shorten it.")


def as_read(encoder: ImageEncoder, texts: list[str]) -> list[str]:
    """Texts as an encoder was trained on them. SigLIPs read small letters alone; SigLIP 1's tokenizer makes them so,
    SigLIP 2's, a Gemma's, does not."""
    return [text.lower() for text in texts] if encoder.kind == "siglip" else texts


def tokenize(encoder: ImageEncoder, texts: list[str], padding: str | bool) -> dict[str, Tensor]:
    """Token ids and, where the network takes one, attention mask (T, length) on the encoder's device. Raises ValueError
    where `check_texts` does."""
    check_texts(encoder, texts)
    longest = encoder.network.config.text_config.max_position_embeddings
    tokens = encoder.tokenizer(as_read(encoder, texts), padding=padding,
                               max_length=longest if padding == "max_length" else None, return_tensors="pt")
    names = ("input_ids",) if encoder.kind == "siglip" else ("input_ids", "attention_mask")
    return {name: tokens[name].to(encoder.device) for name in names}
