"""Tensors that other nodes' patches bring with them: hypernetworks, adapters beside a layer, pictures' embeddings.

They hang in `model_options` and in the functions that took a layer's place, where `module.modules()` does not see them.
Whatever holds them, an attribute, a list, a dict or a function's closure, is written to for a while and put back.
"""
from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import comfy.model_base
import comfy.model_patcher
import torch
from torch import Tensor, nn

Put = Callable[[Any], None]
MOST_DEEP = 12  # holders within holders; nobody nests them so deeply
# What is prepared by itself, and the ends of what a patch can hold.
ELSEWHERE = (comfy.model_patcher.ModelPatcher, comfy.model_base.BaseModel, type, types.ModuleType, torch.device,
             torch.dtype, torch.Generator, str, bytes, int, float, bool, type(None))


class HeldTensors:
    """Finds tensors that are held by what it `visit`s, and hands each with the way to put another in its place to
    `found`; networks that are held go to `network`. Nothing is visited twice."""

    def __init__(self, found: Callable[[Tensor, Put], None], network: Callable[[nn.Module], None]):
        self.found, self.network = found, network
        self.seen: dict[int, Any] = {}

    def visit(self, value: Any, put: Put | None = None, depth: int = 0) -> None:
        if isinstance(value, Tensor):
            if put is not None:
                self.found(value, put)
            return
        # Kept with its number, so that no other object gets the same one meanwhile.
        if isinstance(value, ELSEWHERE) or depth > MOST_DEEP or id(value) in self.seen:
            return
        self.seen[id(value)] = value
        if isinstance(value, nn.Module):
            self.network(value)
        elif isinstance(value, tuple):
            self._tuple(value, put, depth)
        else:
            for item, own in list(_held_by(value)):
                self.visit(item, own, depth + 1)

    def _tuple(self, value: tuple, put: Put | None, depth: int) -> None:
        """Tuples cannot be written to: another one takes the place of one that holds tensors."""
        parts = list(value)

        def put_part(index: int, part: Any) -> None:
            parts[index] = part
            if put is not None:
                put(type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts))

        for index, item in enumerate(value):
            self.visit(item, lambda part, index=index: put_part(index, part), depth + 1)


def _held_by(value: Any) -> Iterator[tuple[Any, Put | None]]:
    """What an object holds, each with the way to put another in its place."""
    if isinstance(value, dict):
        yield from ((item, lambda other, key=key: value.__setitem__(key, other)) for key, item in value.items())
    elif isinstance(value, list):
        yield from ((item, lambda other, index=index: value.__setitem__(index, other))
                    for index, item in enumerate(value))
    elif isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield cell.cell_contents, lambda other, cell=cell: setattr(cell, "cell_contents", other)
            except ValueError:  # a name that has no value yet
                continue
        yield value.__defaults__, lambda other: setattr(value, "__defaults__", other)
    elif isinstance(value, types.MethodType):
        yield value.__self__, None
        yield value.__func__, None
    elif isinstance(value, functools.partial):
        yield value.func, None
        yield value.args, lambda other: value.__setstate__((value.func, other, value.keywords, vars(value)))
        yield value.keywords, None
    else:
        yield from ((item, lambda other, name=name: setattr(value, name, other))
                    for name, item in getattr(value, "__dict__", {}).items())
