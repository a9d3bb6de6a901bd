"""ImageReward: how much people like a picture as an answer to a prompt."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..execution import BatchSize, Watcher
from ._embed import over_batches
from ._encoder import ImageEncoder, pixel_values
from ._reading_transformer import padded

LONGEST_PROMPT = 35  # tokens


def check_reward_model(encoder: ImageEncoder) -> None:
    """Raise ValueError unless this is an ImageReward that can read."""
    if encoder.kind != "image_reward":
        raise ValueError(f"{encoder.name} is a {encoder.kind} model, which gives no rewards: load an ImageReward "
                         "folder.")
    if encoder.tokenizer is None:
        raise ValueError(f"The folder {encoder.name} has no tokenizer: add the vocab.txt of BERT (bert-base-uncased).")


def image_rewards(encoder: ImageEncoder, images: Tensor, prompt: str, *, batch: BatchSize | None = None,
                  watchers: Sequence[Watcher] = ()) -> Tensor:
    """ImageReward (N,), fp32 on the CPU, of pictures (N, H, W, 3) in [0, 1] for one prompt; the higher, the better.

    Prompts are cut after 35 tokens, as the authors do. `batch` and `watchers` are those of `embed_images`. Raises
    ValueError where `check_reward_model` and `check_images` do, and for a prompt without text.
    """
    check_reward_model(encoder)
    if not prompt.strip():
        raise ValueError("ImageReward takes a prompt, but this one has no text.")
    ids = encoder.tokenizer(prompt, truncation=True, max_length=LONGEST_PROMPT)["input_ids"]
    tokens, mask = padded(torch.tensor(ids), LONGEST_PROMPT, encoder.tokenizer.pad_token_id)

    def rewards(pictures: Tensor) -> Tensor:
        device = encoder.device
        return encoder.network(pixel_values(encoder, pictures), tokens.to(device), mask.to(device)).float().cpu()

    return torch.cat(over_batches(images, rewards, batch=batch, watchers=watchers))
