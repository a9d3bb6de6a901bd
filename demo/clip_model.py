"""The demo CLIP: a small two-tower network for 64-pixel pictures of emoji and their names, and how it is stored.

    python demo/clip_model.py FOLDER     writes it as a folder that the transformers library and LoadImageEncoder read

The repository stores matrices as 8-bit integers (see weights.py) and the tokenizer as its list of merges; the folder
has fp16 weights, config.json, preprocessor_config.json and the tokenizer's files. Needs torch, transformers and
safetensors.
"""
from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch

import weights

PATH = Path(__file__).with_name("clip_weights.safetensors")
FORMAT = "mental-averages/demo-clip-1"
SIZE, LENGTH = 64, 32
START, END = "<|startoftext|>", "<|endoftext|>"
# The means and deviations of OpenAI's CLIP: the processor's defaults, so that any reader of the folder agrees.
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def learn_merges(captions: Iterable[str], count: int = 1500) -> list[tuple[str, str]]:
    """The byte pairs that CLIP's tokenizer joins, learnt from captions; at most `count`, the most frequent first."""
    from tokenizers import trainers

    tokenizer = make_tokenizer([]).backend_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=len(_vocabulary([])) + count, min_frequency=2, end_of_word_suffix="</w>",
                                  special_tokens=[START, END], show_progress=False)
    tokenizer.train_from_iterator(captions, trainer)
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def _vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """Every byte, inside and at the end of a word, then what merges make, then the two marks: no text is unknown."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}


def make_tokenizer(merges: list[tuple[str, str]]):
    from transformers import CLIPTokenizerFast

    # By way of files, which every version of the library reads.
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, joined = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        vocabulary.write_text(json.dumps(_vocabulary(merges)), encoding="utf-8")
        joined.write_text("\n".join(["#version: 0.2", *map(" ".join, merges), ""]), encoding="utf-8")
        return CLIPTokenizerFast(str(vocabulary), str(joined), model_max_length=LENGTH)


def build(tokenizer):
    """The network with fresh weights from torch's global generator: about 3.9 million parameters with 1500 merges."""
    from transformers import CLIPConfig, CLIPModel

    marks = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                 pad_token_id=tokenizer.pad_token_id)
    text = dict(hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
                vocab_size=len(tokenizer), max_position_embeddings=LENGTH, **marks)
    vision = dict(hidden_size=192, intermediate_size=768, num_hidden_layers=6, num_attention_heads=6, image_size=SIZE,
                  patch_size=8)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def make_processor():
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE},
                              image_mean=list(MEAN), image_std=list(DEVIATION))


def write_folder(folder: Path, state: dict[str, torch.Tensor], merges: list[tuple[str, str]]) -> None:
    """Write a network's weights with config, preprocessing and tokenizer in the format of the transformers library."""
    tokenizer = make_tokenizer(merges)
    model = build(tokenizer)
    model.load_state_dict(state)
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    make_processor().save_pretrained(folder)


def pack(state: dict[str, torch.Tensor], merges: list[tuple[str, str]], figures: dict[str, float],
         path: Path = PATH, **told: str) -> None:
    """Write the stored form: 8-bit weights, with the merges, the measured figures and what else is `told` in the
    header."""
    weights.save(path, state, {"format": FORMAT, "merges": json.dumps(merges), "figures": json.dumps(figures), **told})


def unpack(path: Path = PATH) -> tuple[dict[str, torch.Tensor], list[tuple[str, str]]]:
    """Weights in fp16 and merges of the stored form."""
    state, header = weights.load(path)
    return state, [tuple(pair) for pair in json.loads(header["merges"])]


def split(path: Path = PATH) -> str:
    """The name of the split of the pictures that the stored form was trained on."""
    return weights.load(path)[1].get("split", weights.UNKNOWN_SPLIT)


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    write_folder(Path(sys.argv[1]), *unpack())
    print(sys.argv[1])


if __name__ == "__main__":
    main()
