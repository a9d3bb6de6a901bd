"""Batches of pictures and latents: checked, counted, taken apart."""
from __future__ import annotations

from typing import Any

import torch

from ...dma import statistics
from ..comfyui import finite


def check_batch(batch: torch.Tensor, name: str) -> None:
    """Raise ValueError if there is nothing in a batch, NaN, or several tensors in one."""
    if getattr(batch, "is_nested", False):
        raise ValueError(f"The input {name} is a combined latent: connect a plain batch.")
    if len(batch) == 0:
        raise ValueError(f"The input {name} is an empty batch: connect at least one.")
    finite(batch, f"The input {name}")


def count_of(batch: Any) -> int:
    """How many images, masks or latents a batch holds. Raises ValueError for several tensors in one."""
    values = batch["samples"] if isinstance(batch, dict) else batch
    if not isinstance(values, torch.Tensor):
        raise ValueError("This latent combines several tensors (video with audio, for example): modes can be taken "
                         "from plain batches only.")
    return len(values)


def take(batch: Any, rows: list[int]) -> Any:
    """Rows of a batch of images or masks, or of a LATENT with what belongs to each of its entries."""
    if not isinstance(batch, dict):
        return batch[rows]
    taken = {**batch, "samples": batch["samples"][rows]}
    masks = batch.get("noise_mask")
    if masks is not None and len(masks) > 1:
        # A KSampler deals masks out in turn where there are not as many as latents; one alone is that of all.
        taken["noise_mask"] = masks[[row % len(masks) for row in rows]]
    if batch.get("batch_index") is not None:
        taken["batch_index"] = [batch["batch_index"][row] for row in rows]
    return taken


def different_rows(batch: Any) -> list[int]:
    """The numbers of images, or of a LATENT's latents, each once: a copy is no picture of its own."""
    values = batch["samples"] if isinstance(batch, dict) else batch
    found: dict[bytes, int] = {}
    for row, digest in enumerate(statistics.row_digests(values)):
        found.setdefault(digest, row)
    return list(found.values())
