"""Features of the samples of a mixture, read a few at a time into a state that can be gone on with."""
from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..diffusion import Denoiser
from ..execution import BatchSize, Event
from ..models import read_features

# A mixture knows where things are, not what each pixel is; principal components of larger maps would cost gigabytes.
LARGEST_GRID = 8


@dataclass
class Reading:
    """Pooled features (N, D) of N latents at one noise level, on the CPU, of which the first `read` rows are known."""

    features: Any = None  # a tensor from the first rows on
    read: int = 0
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    @property
    def where(self) -> str:
        """How far it has come, in words."""
        return f"row {self.read}"

    def take(self, rows: slice, found: Tensor, total: int) -> None:
        """Features (b, D) of the rows that follow, of so many in all."""
        if self.features is None:
            self.features = found.new_zeros(total, found.shape[1])
        self.features[rows] = found
        self.read = rows.stop

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        tensors = {} if self.features is None else {"features": self.features}
        return tensors, {"read": self.read, "seconds": self.seconds, "pace": self.pace}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> Reading:
        """The state that `packed` was asked for."""
        features = tensors.get("features")
        # Earlier versions saved features when all were read.
        read = meta.get("read", 0 if features is None else len(features))
        return cls(features, read, meta.get("seconds", 0.0), meta.get("pace", {}))


def read_pooled(denoiser: Denoiser, latents: Tensor, sigma: float, batch: BatchSize,
                reading: Reading) -> Generator[Event, None, None]:
    """Read what is not known yet of the features of latents (N, C, H, W) at one noise level; those of maps are averaged
    over a grid of at most 8 x 8."""
    total = len(latents)
    for rows, found in read_features(denoiser, latents, sigma, batch=batch, first=reading.read):
        reading.take(rows, pooled(found), total)
        yield Event("read", rows.stop - rows.start, rows.stop, total, changed=True, closes=rows.stop == total)


def pooled(features: Tensor) -> Tensor:
    """Features (b, ...) as rows (b, D) on the CPU."""
    if features.ndim == 4:
        height, width = features.shape[-2:]
        features = F.adaptive_avg_pool2d(features, (min(LARGEST_GRID, height), min(LARGEST_GRID, width)))
    return features.flatten(1).cpu()
