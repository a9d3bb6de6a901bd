"""The file format of representations."""
from __future__ import annotations

import json
from pathlib import Path

from ..files import replacing
from ._representation import Representation, check_representation

FORMAT = "mental-averages/representation-1"
SETTINGS = ("layer", "sigmas", "draws", "seed", "pooling", "shape")


def save_representation(representation: Representation, path: Path) -> None:
    """Write a representation as safetensors, with where and how it was read in the header, whole or not at all."""
    from safetensors.torch import save_file

    header = json.dumps({name: getattr(representation, name) for name in SETTINGS})
    with replacing(path) as temporary:
        save_file({"means": representation.means.contiguous(), "fingerprint": representation.fingerprint.contiguous()},
                  temporary, metadata={"format": FORMAT, "settings": header})


def load_representation(path: Path) -> Representation:
    """Read what `save_representation` wrote. Raises ValueError for any other file, and for a damaged one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(f"{path.name} does not hold a representation.")
            settings, kept = _settings(header.get("settings", "")), set(file.keys())
            if settings is None or not kept >= {"means", "fingerprint"}:
                raise ValueError(f"{path.name} holds a damaged representation: it lacks how it was read, or what.")
            means, fingerprint = (file.get_tensor(name).clone() for name in ("means", "fingerprint"))
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a whole safetensors file: {error}.") from None
    sigmas, shape = (tuple(settings.pop(name)) for name in ("sigmas", "shape"))
    return check_representation(Representation(means, sigmas=sigmas, shape=shape, fingerprint=fingerprint, **settings))


def _settings(text: str) -> dict | None:
    """The settings in a header; None where some are missing or unknown."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() == set(SETTINGS) else None
