"""Captured features and their file format."""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..files import replacing

FORMAT = "mental-averages/features-1"


@dataclass(frozen=True)
class Features:
    """Features (N, ...) of N latents in fp32 on the CPU, read at `layer` at noise level `sigma`."""

    values: Tensor
    layer: str
    pooling: str
    sigma: float


def save_features(features: Features, path: Path) -> None:
    """Write features as safetensors, with where they were read in the header, whole or not at all."""
    from safetensors.torch import save_file

    header = json.dumps({"layer": features.layer, "pooling": features.pooling, "sigma": features.sigma})
    with replacing(path) as temporary:
        save_file({"features": features.values.contiguous()}, temporary,
                  metadata={"format": FORMAT, "settings": header})


def load_features(path: Path) -> Features:
    """Read what `save_features` wrote. Raises ValueError for any other file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(f"{path.name} does not hold captured features.")
            return Features(file.get_tensor("features").clone(), **json.loads(header["settings"]))
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a safetensors file: {error}.") from None
