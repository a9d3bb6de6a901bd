"""What a node returned, as tensors and texts: flattened, kept in a file, compared bit by bit."""
from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Of a report: how long it took is never the same twice.
CLOCKS = ("seconds", "sampling_seconds")


def save(content: dict[str, Any], path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {name: value.contiguous().clone() for name, value in content.items() if isinstance(value, Tensor)}
    texts = {name: value for name, value in content.items() if isinstance(value, str)}
    save_file(tensors or {"": torch.zeros(1)}, path, metadata=texts)


def load(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {**{name: file.get_tensor(name) for name in file.keys() if name}, **(file.metadata() or {})}


def differences(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """What differs, in words; empty if nothing does."""
    wrong = [f"{name} is missing" for name in sorted(found.keys() ^ expected.keys())]
    for name in found.keys() & expected.keys():
        if isinstance(found[name], str):
            if found[name] != expected[name]:
                wrong.append(f"{name}: {found[name][:300]} instead of {expected[name][:300]}")
        elif not torch.equal(found[name].nan_to_num(), expected[name].nan_to_num()):
            wrong.append(f"{name} by {(found[name] - expected[name]).abs().max().item():.3g}")
    return "; ".join(wrong)


def flat(value: Any, name: str = "result") -> dict[str, Any]:
    """Tensors and texts in nested results by their place, clocks left out."""
    if isinstance(value, Tensor):
        return {name: value.detach().cpu()}
    if hasattr(value, "to_json"):
        return {name: json.dumps(without_clocks(json.loads(value.to_json())), sort_keys=True)}
    if dataclasses.is_dataclass(value):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, dict):
        return {key: item for part, child in value.items() for key, item in flat(child, f"{name}.{part}").items()}
    if isinstance(value, (list, tuple)):
        return {key: item for part, child in enumerate(value) for key, item in flat(child, f"{name}.{part}").items()}
    return {name: repr(value)} if isinstance(value, (str, int, float, bool)) else {}


def without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_clocks(item) for key, item in value.items() if key not in CLOCKS}
    return [without_clocks(item) for item in value] if isinstance(value, list) else value
