"""What a run's result depends on, hashed: settings, the algorithm, and all that hangs in a MODEL and in CONDITIONING.

A ControlNet with its hint, a LoRA's patches and the numbers of a patch in `model_options` are part of the name of the
run's state. Whatever cannot be read here, such as what a function does or which weights the network has, is seen by
asking the model (`dma.models.fingerprint`). So only what a user sets is taken, and not what changes while a model runs:
a state must be found again after a run and after a restart.
"""
from __future__ import annotations

import dis
import enum
import functools
import hashlib
import inspect
import types
from collections.abc import Mapping
from typing import Any

import comfy.controlnet
import comfy.model_patcher
import torch
from torch import Tensor, nn

from ...dma import execution

# What a user sets on a ControlNet after it has been made; what its constructor takes is read as of other objects.
OF_CONTROL = ("cond_hint_original", "strength", "timestep_percent_range", "extra_concat_orig", "extra_args",
              "extra_hooks", "upscale_algorithm", "concat_mask", "previous_controlnet")
# Of a MODEL. Weights themselves are asked for: which patches are in them just now is of no account.
OF_PATCHER = ("patches", "object_patches", "model_options", "additional_models", "injections", "hook_patches",
              "attachments", "weight_wrapper_patches")
PASSING_OPTIONS = ("multigpu_clones",)
DEEPEST = 12
# Of larger tensors so many values are taken, evenly spread: they are weights, and differ everywhere if at all.
LARGEST_TENSOR, VALUES_OF_LARGER, VALUES_OF_WEIGHTS = 2**24, 2**16, 16


def run_key(model: Any, algorithm: str, settings: dict, conditionings: Mapping[str, list],
            tensors: Mapping[str, Tensor] | None = None) -> str:
    """The key of a run of `algorithm`, by name and version, with these settings on a MODEL as it is patched."""
    content = _Content(model)
    for name, conditioning in sorted(conditionings.items()):
        content.take(name, conditioning)
    for name in OF_PATCHER:
        content.take(name, getattr(model, name, None))
    return execution.run_key({**settings, "algorithm": algorithm, "content": content.digest.hexdigest()},
                             dict(tensors or {}))


class _Content:
    """A hash of the numbers, words and tensors in nested values, each with its place."""

    def __init__(self, model: Any):
        self.digest = hashlib.sha256()
        self.own = {id(module) for module in model.model.modules()}
        self.path: list[int] = []

    def leaf(self, place: str, value: str | bytes) -> None:
        content = value if isinstance(value, bytes) else value.encode()
        self.digest.update(f"{place} {len(content)} ".encode() + content)

    def take(self, place: str, value: Any) -> None:
        if isinstance(value, (bool, int, float, complex, str, torch.dtype)):
            self.leaf(place, f"{type(value).__name__} {value!r}")
        elif isinstance(value, bytes):
            self.leaf(place, value)
        elif isinstance(value, enum.Enum):
            self.leaf(place, str(value))
        elif isinstance(value, Tensor):
            self.tensor(place, value)
        elif id(value) not in self.path and len(self.path) < DEEPEST:
            self.path.append(id(value))
            self.inside(place, value)
            self.path.pop()

    def inside(self, place: str, value: Any) -> None:
        if isinstance(value, Mapping):
            entries = ((_named(key), item) for key, item in value.items() if key not in PASSING_OPTIONS)
            for name, item in sorted(entries, key=lambda entry: entry[0]):
                self.take(f"{place}.{name}", item)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self.take(f"{place}.{index}", item)
        elif isinstance(value, (set, frozenset)):
            self.leaf(place, " ".join(sorted(_named(item) for item in value)))
        elif isinstance(value, nn.Module):
            if id(value) not in self.own:
                self.weights(place, value)
        elif isinstance(value, comfy.model_patcher.ModelPatcher):
            if id(value.model) not in self.own:
                self.take(f"{place}.model", value.model)
                for name in OF_PATCHER:
                    self.take(f"{place}.{name}", getattr(value, name, None))
        elif isinstance(value, functools.partial):
            self.take(place, [value.func, value.args, value.keywords])
        elif isinstance(value, types.MethodType):
            self.take(f"{place}.self", value.__self__)
            self.function(place, value.__func__)
        elif isinstance(value, types.FunctionType):
            self.function(place, value)
        elif not isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType)):
            self.object(place, value)

    def tensor(self, place: str, value: Tensor, most: int = LARGEST_TENSOR, kept: int = VALUES_OF_LARGER) -> None:
        self.leaf(place, f"{tuple(value.shape)} {value.dtype}")
        # Tensors of classes of their own, such as those of quantised checkpoints, may have no plain values.
        if type(value) not in (Tensor, nn.Parameter) or value.is_meta or not value.numel():
            return
        flat = value.detach().reshape(-1)
        flat = flat if len(flat) <= most else flat[:: -(-len(flat) // kept)]
        self.leaf(place, flat.cpu().contiguous().view(torch.uint8).numpy().tobytes())

    def weights(self, place: str, module: nn.Module) -> None:
        for name, value in sorted((*module.named_parameters(), *module.named_buffers()), key=lambda pair: pair[0]):
            self.tensor(f"{place}.{name}", value, VALUES_OF_WEIGHTS, VALUES_OF_WEIGHTS)

    def function(self, place: str, function: types.FunctionType) -> None:
        """What a function was made with: its default arguments and what it holds of the function around it.

        Not what it changes itself, which is a state, and neither dicts nor rows of numbers, in which it may keep one.
        """
        changed = _rebound(function.__code__)
        cells = zip(function.__code__.co_freevars, function.__closure__ or ())
        held = {**dict(enumerate(function.__defaults__ or ())), **(function.__kwdefaults__ or {})}
        for name, cell in cells:
            try:
                held[name] = None if name in changed else cell.cell_contents
            except ValueError:
                held[name] = None  # not bound yet
        for name, value in held.items():
            if isinstance(value, list):
                value = [item for item in value if not isinstance(item, (float, Tensor, list, dict))]
            if not isinstance(value, Mapping):
                self.take(f"{place}.{name}", value)

    def object(self, place: str, value: Any) -> None:
        """What the constructor of an object was given, where it is kept under the same name."""
        names = set(OF_CONTROL) if isinstance(value, comfy.controlnet.ControlBase) else set()
        for kind in type(value).__mro__[:-1]:
            try:
                names |= set(inspect.signature(kind.__init__).parameters)
            except (TypeError, ValueError):
                continue
        kept = getattr(value, "__dict__", {})
        for name in sorted(names):
            for attribute in (name, f"_{name}"):
                if attribute in kept:
                    self.take(f"{place}.{attribute}", kept[attribute])


def _rebound(code: types.CodeType) -> set[str]:
    """The names of the surrounding function to which a function, or one inside it, gives new values."""
    own = {str(instruction.argval) for instruction in dis.get_instructions(code)
           if instruction.opname in ("STORE_DEREF", "DELETE_DEREF")}
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return own.union(*(_rebound(constant) for constant in inner)) & set(code.co_freevars)


def _named(key: Any) -> str:
    """A key of a dict by what it says, and not by where it lies in memory."""
    if isinstance(key, (tuple, list)):
        return f"({', '.join(_named(part) for part in key)})"
    return str(key) if isinstance(key, (str, int, float, enum.Enum)) else type(key).__name__
