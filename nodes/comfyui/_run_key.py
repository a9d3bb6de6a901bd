"""What a run's result depends on, hashed: settings, the algorithm, and all that hangs in a MODEL and in CONDITIONING.

The network's weights, a ControlNet with its hint, a LoRA's patches, the functions of patches by name and the numbers
that they were made with are part of the name of the run's state. Whatever cannot be read here, such as what a function
does, is seen by asking the model (`dma.models.fingerprint`), as far as its rounding lets it be seen. So only what a
user sets is taken, and not what changes while a model runs: a state must be found again after a run and after a
restart, and by another server with another Python.
"""
from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import re
import types
from collections.abc import Mapping
from typing import Any

import comfy.clip_vision
import comfy.controlnet
import comfy.hooks
import comfy.model_patcher
import comfy.weight_adapter
import numpy as np
import torch
from torch import Tensor, nn

from ...dma import execution
from ._closures import only_read, rebound, settings_in, written_into
from ._weights import identity_of, original_modules, originals_of

# What a user sets on these after they have been made; what their constructor takes is read as of other objects.
OF_CONTROL = ("cond_hint_original", "strength", "timestep_percent_range", "extra_concat_orig", "extra_args",
              "extra_hooks", "upscale_algorithm", "concat_mask", "previous_controlnet")
OF_OBJECTS = {comfy.controlnet.ControlBase: OF_CONTROL, comfy.hooks.HookGroup: ("hooks",),
              comfy.hooks.HookKeyframeGroup: ("keyframes",), comfy.hooks.WeightHook: ("weights",)}
# Of a MODEL, besides its weights without patches: which patches are in them just now is of no account.
OF_PATCHER = ("patches", "object_patches", "model_options", "additional_models", "injections", "hook_patches",
              "attachments", "weight_wrapper_patches", "wrappers")
PASSING_OPTIONS = ("multigpu_clones",)
# Those hold weights, of which some values are enough: those of a merge are the whole of another checkpoint.
OF_WEIGHTS = ("patches", "hook_patches")
# What core casts adapters beside layers to, if the layer has such a type.
CAST_TO = (torch.float32, torch.float16, torch.bfloat16)
WORDS = (bool, int, float, complex, str, bytes, torch.dtype)
PATH = re.compile(r"[./\\]")
DEEPEST = 12
VALUES_OF_WEIGHTS, LARGEST_PIECE = 2**16, 2**22


def run_key(model: Any, algorithm: str, settings: dict, conditionings: Mapping[str, list],
            tensors: Mapping[str, Tensor] | None = None) -> str:
    """The key of a run of `algorithm`, by name and version, with these settings on a MODEL as it is patched."""
    content = _Content(model)
    content.read({**{name: conditioning for name, conditioning in sorted(conditionings.items())},
                  **{name: getattr(model, name, None) for name in OF_PATCHER}})
    return execution.run_key({**settings, "algorithm": algorithm, "content": content.digest.hexdigest()},
                             dict(tensors or {}))


def conditioning_key(model: Any, conditionings: Mapping[str, list]) -> str:
    """A hash of what CONDITIONINGs hold, whatever the weights of the MODEL are that they are for."""
    content = _Content(model, weights=False)
    content.read({name: conditioning for name, conditioning in sorted(conditionings.items())})
    return content.digest.hexdigest()


class _Content:
    """A hash of the numbers, words and tensors in nested values, each with its place."""

    def __init__(self, model: Any, weights: bool = True):
        self.digest, self.looking, self.sampling = hashlib.sha256(), False, False
        originals = originals_of(model)
        self.own = {id(module) for _, module in original_modules(model.model, originals)}
        if weights:
            self.leaf("weights", identity_of(model.model, originals))
        self.path: list[int] = []
        # Dicts and lists into which a function writes, and names to which one gives new values, with their numbers.
        self.written: dict[int, Any] = {}
        self.rebound: dict[int, types.CellType] = {}

    def read(self, values: Mapping[str, Any]) -> None:
        """Take values by name. They are gone through twice: one function may write what another reads."""
        for self.looking in (True, False):
            for name, value in values.items():
                self.sampling = name in OF_WEIGHTS
                self.take(name, value)

    def leaf(self, place: str, value: str | bytes) -> None:
        content = value if isinstance(value, bytes) else value.encode()
        self.digest.update(f"{place} {len(content)} ".encode() + content)

    def take(self, place: str, value: Any) -> None:
        if isinstance(value, (*WORDS, enum.Enum, Tensor, np.ndarray, np.generic)):
            if not self.looking:
                self.simple(place, value)
        elif id(value) not in self.path and len(self.path) < DEEPEST:
            self.path.append(id(value))
            self.inside(place, value)
            self.path.pop()

    def simple(self, place: str, value: Any) -> None:
        if isinstance(value, Tensor):
            self.tensor(place, value)
        elif isinstance(value, bytes):
            self.leaf(place, value)
        elif isinstance(value, (np.ndarray, np.generic)):
            self.leaf(place, f"{value.shape} {value.dtype}")
            if value.dtype.hasobject:
                self.leaf(place, repr(value.tolist()))
            else:
                self.digest.update(value.tobytes())
        else:
            # Not str(), which differs between versions of Python.
            self.leaf(place, f"{type(value).__name__}.{value.name or value.value}" if isinstance(value, enum.Enum)
                      else f"{type(value).__name__} {value!r}")

    def inside(self, place: str, value: Any) -> None:
        if isinstance(value, Mapping):
            entries = ((_named(key), item) for key, item in value.items() if key not in PASSING_OPTIONS)
            for name, item in sorted(entries, key=lambda entry: entry[0]):
                self.take(f"{place}.{name}", item)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self.take(f"{place}.{index}", item)
        elif isinstance(value, (set, frozenset)):
            self.take(place, " ".join(sorted(_named(item) for item in value)))
        elif isinstance(value, nn.Module):
            self.network(place, value, {})
        elif isinstance(value, comfy.model_patcher.ModelPatcher):
            if id(value.model) not in self.own:
                self.network(f"{place}.model", value.model, originals_of(value))
                for name in OF_PATCHER:
                    self.take(f"{place}.{name}", getattr(value, name, None))
        elif isinstance(value, functools.partial):
            self.partial(place, value)
        elif isinstance(value, comfy.weight_adapter.BypassInjectionManager):
            self.adapters(place, value)
        elif isinstance(value, types.MethodType):
            self.take(f"{place}.self", value.__self__)
            self.take(place, value.__func__)
        elif isinstance(value, types.FunctionType):
            self.function(place, value)
        elif isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType)):
            self.name(place, value)
        else:
            self.object(place, value)

    def tensor(self, place: str, value: Tensor) -> None:
        self.leaf(place, f"{tuple(value.shape)} {value.dtype}")
        # Tensors of classes of their own, such as those of quantised checkpoints, may have no plain values.
        if type(value) not in (Tensor, nn.Parameter) or value.is_meta or not value.numel():
            return
        flat = value.detach().reshape(-1)
        if self.sampling and len(flat) > VALUES_OF_WEIGHTS:
            flat = flat[:: -(-len(flat) // VALUES_OF_WEIGHTS)]
        for piece in flat.split(LARGEST_PIECE):
            self.digest.update(piece.cpu().contiguous().view(torch.uint8).numpy().tobytes())

    def network(self, place: str, module: nn.Module, originals: Mapping[str, Any]) -> None:
        if id(module) not in self.own and not self.looking:
            self.leaf(place, identity_of(module, originals))

    def name(self, place: str, value: Any) -> None:
        """What a function or a class is called in its file, wherever its pack's folder is; those without a name are
        told apart by their line."""
        if not self.looking:
            file, name = PATH.split(_word(value, "__module__"))[-1], _word(value, "__name__")
            unnamed = isinstance(value, types.FunctionType) and name == "<lambda>"
            line = value.__code__.co_firstlineno if unnamed else ""
            self.leaf(place, f"{file} {_word(value, '__qualname__') or name} {line}")

    def function(self, place: str, function: types.FunctionType) -> None:
        """What a function is called and was made with: its default arguments and what it holds of the function around
        it.

        Not what it, or a function beside it, changes, which is a state: names with new values, dicts and lists that
        are written to.
        """
        self.name(place, function)
        code = function.__code__
        defaults = {**dict(enumerate(function.__defaults__ or ())), **(function.__kwdefaults__ or {})}
        self.written.update((id(value), value) for value in defaults.values() if isinstance(value, (dict, list)))
        held, changed = {str(name): value for name, value in defaults.items()}, rebound(code)
        for name, cell in zip(code.co_freevars, function.__closure__ or ()):
            if name in changed:
                self.rebound[id(cell)] = cell
            empty = cell == types.CellType()  # not bound yet
            held[name] = value = None if empty or id(cell) in self.rebound else cell.cell_contents
            if isinstance(value, (dict, list)) and not only_read(code, name):
                self.written[id(value)] = value
        self.held(place, held)

    def partial(self, place: str, partial: functools.partial) -> None:
        """What a function is given in advance, all of it but dicts and lists that it is seen to write into, which are
        a state. One that it hands on counts as a setting: what is asked again for a state that changed costs time, and
        what is gone on with for another strength is wrong."""
        self.take(f"{place}.func", partial.func)
        method = isinstance(partial.func, types.MethodType)
        code = getattr(partial.func.__func__ if method else partial.func, "__code__", None)
        parameters = code.co_varnames[: code.co_argcount][method:] if code else ()
        given = dict(enumerate(partial.args))
        for key, value in (*given.items(), *partial.keywords.items()):
            name = parameters[key] if isinstance(key, int) and key < len(parameters) else key
            known = code is not None and name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            if isinstance(value, (dict, list)) and known and written_into(code, name):
                self.written[id(value)] = value
            if id(value) in self.written:
                self.held(place, {str(key): value})
            else:
                self.take(f"{place}.{key}", value)

    def held(self, place: str, held: Mapping[str, Any]) -> None:
        """Values that a function holds, without those into which one writes."""
        for name, value in held.items():
            others: list[Any] = []
            if isinstance(value, list):
                others = [item for item in value if not isinstance(item, (float, Tensor, list, dict))]
            if isinstance(value, (dict, list)):
                value = others if id(value) in self.written else [settings_in(value), others]
            self.take(f"{place}.{name}", value)

    def adapters(self, place: str, manager: Any) -> None:
        """Adapters that core puts beside layers (Load LoRA (Bypass)). A run casts them to the type of their layer."""
        sampling, self.sampling = self.sampling, True
        for hook in manager.hooks:
            dtype = getattr(getattr(hook.module, "weight", None), "dtype", None)
            name = next(key for key, (adapter, _) in manager.adapters.items() if adapter is hook.adapter)
            weights = getattr(hook.adapter, "weights", None)
            if dtype in CAST_TO and isinstance(weights, (list, tuple)):
                weights = [weight.to(dtype) if isinstance(weight, Tensor) else weight for weight in weights]
            network = hook.adapter if isinstance(hook.adapter, nn.Module) else None
            self.take(f"{place}.{name}", [type(hook.adapter).__name__, hook.multiplier, weights, network])
        self.sampling = sampling

    def object(self, place: str, value: Any) -> None:
        """What the constructor of an object was given, where it is kept under the same name, and the class and the name
        of one that can be called as a function.

        One that keeps a state under such a name has another key after a run, and is asked anew.
        """
        if callable(value):
            self.name(place, type(value))
            self.name(place, value)
        names = {name for kind, known in OF_OBJECTS.items() if isinstance(value, kind) for name in known}
        if isinstance(value, comfy.clip_vision.Output):
            names |= set(vars(value))
        for kind in type(value).__mro__[:-1]:
            try:
                names |= set(inspect.signature(kind.__init__).parameters)
            except (TypeError, ValueError):
                continue
        kept = getattr(value, "__dict__", {})
        sampling, self.sampling = self.sampling, self.sampling or isinstance(value, comfy.hooks.WeightHook)
        for name in sorted(names):
            for attribute in (name, f"_{name}"):
                if attribute in kept:
                    self.take(f"{place}.{attribute}", kept[attribute])
        self.sampling = sampling


def _word(value: Any, attribute: str) -> str:
    """An attribute that is a text, of whatever it may be."""
    try:
        found = getattr(value, attribute, "")
    except Exception:  # of a class of another pack, which looks it up itself
        return ""
    return found if isinstance(found, str) else ""


def _named(key: Any) -> str:
    """A key of a dict by what it says, and not by where it lies in memory."""
    if isinstance(key, (tuple, list)):
        return f"({', '.join(_named(part) for part in key)})"
    return str(key) if isinstance(key, (str, int, float, enum.Enum)) else type(key).__name__
