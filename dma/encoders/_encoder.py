"""Image encoders from folders in the format of the transformers library: CLIP, SigLIP, DINOv2 and BLIP-VQA.

Only files that lie in the folder are read: nothing is downloaded, no code from the folder runs, and weights are taken
from safetensors files alone.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ._folder import NETWORKS, READ_TEXT, TOKENIZER_FILES, check_folder


@dataclass(frozen=True)
class ImageEncoder:
    """A network in evaluation mode with the preprocessing of its pictures and, if its folder has one, its tokenizer.

    `kind` is the `model_type` of the folder's config.json, one of NETWORKS.
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


def pixel_values(encoder: ImageEncoder, images: Tensor) -> Tensor:
    """Pictures (N, H, W, 3) in [0, 1] resized, cropped and normalised as the folder says: (N, 3, h, w) on the encoder's
    device."""
    batch = images[..., :3].float().clamp(0, 1).cpu().permute(0, 3, 1, 2)  # (N, 3, H, W)
    return encoder.processor(images=list(batch), do_rescale=False,
                             return_tensors="pt")["pixel_values"].to(encoder.device)


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
