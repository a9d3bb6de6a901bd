"""Results on the CPU, as they can be sent to a machine without a card."""
from __future__ import annotations

import dataclasses
from typing import Any

import torch


def on_cpu(value: Any) -> Any:
    """A value with all tensors in it on the CPU and without history: in lists, tuples, dicts and dataclasses.

    >>> on_cpu([(torch.ones(1, requires_grad=True), "word")])
    [(tensor([1.]), 'word')]
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        # All that lies behind a part of a tensor would be sent with it.
        return value.clone() if value.untyped_storage().nbytes() > value.numel() * value.element_size() else value
    if isinstance(value, dict):
        return {key: on_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [on_cpu(item) for item in value]
    if isinstance(value, tuple):
        items = [on_cpu(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{field.name: on_cpu(getattr(value, field.name))
                                             for field in dataclasses.fields(value) if field.init})
    return value
