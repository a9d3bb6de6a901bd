"""The demo checkpoint's text encoder: a fixed random vector per token, regenerated from a seed instead of stored.

ComfyUI runs the full CLIP-L architecture on it: twelve layers whose output projections are zero pass the sum of token
and position vectors through, and the final layer norm does the rest. `embed_captions` is the same function without the
detour, for training.
"""
from __future__ import annotations

import functools

import numpy as np
import torch

TOKENS, WIDTH, LENGTH = 49408, 768, 77
POSITION_SCALE = 0.25


def random_table(rows: int, seed: int) -> torch.Tensor:
    """Uniform random values of unit variance, (rows, 768) in fp16.

    Drawn as bytes from numpy's legacy generator, whose stream is frozen for good, so that the table is the same on
    every platform and version.
    """
    drawn = np.frombuffer(np.random.RandomState(seed).bytes(rows * WIDTH), dtype=np.uint8)
    values = (torch.from_numpy(drawn.copy()).float() - 127.5) / (256 / 12**0.5)
    return values.reshape(rows, WIDTH).half()


@functools.lru_cache(maxsize=1)
def token_table() -> torch.Tensor:
    return random_table(TOKENS, seed=1)


@functools.lru_cache(maxsize=1)
def position_table() -> torch.Tensor:
    return (POSITION_SCALE * random_table(LENGTH, seed=2).float()).half()


@functools.lru_cache(maxsize=1)
def _tokenizer():
    from comfy.sd1_clip import SD1Tokenizer

    return SD1Tokenizer()


@functools.lru_cache(maxsize=100_000)
def token_ids(caption: str) -> tuple[int, ...]:
    """The 77 token ids that ComfyUI gives a caption."""
    return tuple(token for token, _ in _tokenizer().tokenize_with_weights(caption)["l"][0])


def embed_captions(captions: list[str]) -> torch.Tensor:
    """Conditioning (N, 77, 768) as the assembled checkpoint's text encoder computes it."""
    return embed_ids(torch.tensor([token_ids(caption) for caption in captions]))


def embed_ids(ids: torch.Tensor) -> torch.Tensor:
    """The same of token ids (N, 77), on their device."""
    tokens, positions = _tables(ids.device)
    return torch.nn.functional.layer_norm(tokens[ids].float() + positions.float(), (WIDTH,))


@functools.lru_cache(maxsize=2)
def _tables(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return token_table().to(device), position_table().to(device)
