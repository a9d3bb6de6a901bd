"""Embeddings of pictures and texts."""
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from ..execution import BatchSize, Event, Watcher, drive
from ..statistics import finite_rows, unit_length
from ._encoder import ImageEncoder, pixel_values, tokenize

FIRST_BATCH = 16
COMPARES_PROMPTS = ("clip", "siglip")  # kinds of encoders with a text side in the space of their pictures
Result = TypeVar("Result")


def embed_images(encoder: ImageEncoder, images: Tensor, *, batch: BatchSize | None = None,
                 watchers: Sequence[Watcher] = ()) -> Tensor:
    """Unit-length embeddings (N, D), fp32 on the CPU, of pictures (N, H, W, 3) in [0, 1].

    CLIP: the projected class token; SigLIP: the attention-pooled token; DINOv2 and BLIP: the normalised class token;
    DreamSim: its class token less its mean. `batch` and `watchers` are those of `over_batches`. Raises ValueError where
    `check_images` does, and for an ImageReward, which has no embedding.
    """
    if encoder.kind == "image_reward":
        raise ValueError(f"{encoder.name} is an ImageReward, which scores pictures and does not embed them: load a "
                         "CLIP, SigLIP, DINOv2, BLIP or DreamSim folder.")
    return unit_embeddings(images, lambda pictures: _picture_vectors(encoder, pixel_values(encoder, pictures)),
                           batch=batch, watchers=watchers)


def unit_embeddings(images: Tensor, function: Callable[[Tensor], Tensor], *, batch: BatchSize | None = None,
                    watchers: Sequence[Watcher] = ()) -> Tensor:
    """What `function` makes of pictures (N, H, W, 3), a batch at a time, scaled to unit length: (N, D), fp32 on the
    CPU.

    Where it gives several vectors for a picture, (B, T, D), their mean is taken. `batch` and `watchers` are those of
    `over_batches`.

    >>> unit_embeddings(torch.ones(3, 2, 2, 3), lambda pictures: pictures.mean(dim=(1, 2)))[0]
    tensor([0.5774, 0.5774, 0.5774])
    """
    def one_vector(pictures: Tensor) -> Tensor:
        found = function(pictures).float()  # (B, D) or (B, T, D)
        return (found.mean(1) if found.ndim == 3 else found).cpu()

    return unit_length(torch.cat(over_batches(images, one_vector, batch=batch, watchers=watchers)))


@torch.no_grad()
def over_batches(images: Tensor, function: Callable[[Tensor], Result], *, batch: BatchSize | None = None,
                 watchers: Sequence[Watcher] = ()) -> list[Result]:
    """`function` of pictures (N, H, W, 3), a batch at a time, in order; without gradients.

    Batches begin with 16 pictures unless `batch` says otherwise, and get smaller when memory runs out; after each there
    is an event of the kind "embed". Raises ValueError where `check_images` does.
    """
    check_images(images)
    return drive(reading(images, function, batch or BatchSize(FIRST_BATCH)), None, watchers)


def reading(images: Tensor, function: Callable[[Tensor], Result],
            batch: BatchSize) -> Generator[Event, None, list[Result]]:
    """The loop of `over_batches`."""
    results = []
    for rows, found in batch.over(len(images), lambda rows: function(images[rows])):
        results.append(found)
        yield Event("embed", rows.stop - rows.start, rows.stop, len(images))
    return results


def check_images(images: Tensor) -> None:
    """Raise ValueError unless these are one or more pictures (N, H, W, 3 or more), all values finite."""
    if images.ndim != 4 or images.shape[-1] < 3 or len(images) == 0:
        raise ValueError("Pictures have the shape (N, H, W, 3) with N at least 1, but these are "
                         f"{tuple(images.shape)}.")
    if not finite_rows(images).all():
        raise ValueError("The pictures contain NaN or infinity: look for what made them.")


@torch.no_grad()
def embed_texts(encoder: ImageEncoder, texts: list[str]) -> Tensor:
    """Unit-length embeddings (T, D), fp32 on the CPU, in the space of the same CLIP's or SigLIP's pictures.

    Raises ValueError if the encoder has no text side, or for a text that is longer than it reads.
    """
    if encoder.kind not in COMPARES_PROMPTS:
        raise ValueError(f"{encoder.name} is a {encoder.kind} model, which does not compare pictures with prompts: "
                         "load a CLIP or SigLIP folder.")
    # SigLIP was trained on texts that are filled up to full length; CLIP does not see what follows the end of a text.
    tokens = tokenize(encoder, texts, "max_length" if encoder.kind == "siglip" else True)
    outputs = encoder.network.text_model(**tokens).pooler_output  # (T, width)
    if encoder.kind == "clip":
        outputs = encoder.network.text_projection(outputs)
    return unit_length(outputs.float().cpu())


def _picture_vectors(encoder: ImageEncoder, pixels: Tensor) -> Tensor:
    """One vector for each preprocessed picture (B, 3, h, w): (B, D)."""
    if encoder.kind == "dreamsim":
        return encoder.network(pixels)
    # Asked from the parts, because get_image_features returns a tensor in some versions of the library and a record in
    # others.
    vision = getattr(encoder.network, "vision_model", encoder.network)
    pooled = vision(pixel_values=pixels).pooler_output  # (B, width)
    return encoder.network.visual_projection(pooled) if encoder.kind in ("clip", "clip_vision_model") else pooled
