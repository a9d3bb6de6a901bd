"""A pretended device without fp64, as Apple's MPS and some Intel cards are: what is done on it is computed on the CPU,
and what such a device refuses raises.

    with pretended():
        x = torch.ones(3).to(DEVICE)  # x.device is DEVICE
        x.double()  # TypeError
        x + torch.ones(3)  # RuntimeError: two devices
"""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

DEVICE = torch.device("mps")
CPU = torch.device("cpu")
NO_FP64 = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."

# What may take a tensor of the CPU beside one of the device: an index, or values that are copied into place.
INDEXING = (Tensor.__getitem__, Tensor.__setitem__)
# What may see tensors of both without computing with them together.
UNMIXED = (Tensor.copy_, Tensor.view_as, Tensor.reshape_as, Tensor.expand_as, torch.autograd.grad)


class OnDevice(Tensor):
    """A tensor of the pretended device. Its memory is the CPU's."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function == Tensor.device.__get__:
            return DEVICE
        if function is Tensor.cpu:
            return _plain(args[0])
        if function is Tensor.to:
            return _moved(*args, **kwargs)
        if function is Tensor.numpy:
            raise TypeError("can't convert mps:0 device type tensor to numpy. Use Tensor.cpu() first.")
        with torch._C.DisableTorchFunctionSubclass():
            _check(function, [*args, *kwargs.values()])
            device = kwargs.get("device")  # where the result is to be, as for zeros_like
            if device is not None:
                kwargs = {**kwargs, "device": CPU}
            found = function(*args, **kwargs)
            # What the CPU gets from the device is the CPU's: in `rows[1:] = found` and in a gradient of what was moved.
            own = args[:1] if function in (Tensor.__setitem__, *UNMIXED) else args
            if function is torch.autograd.grad:
                return _as_inputs(found, kwargs.get("inputs", args[1] if len(args) > 1 else None))
            there = any(isinstance(tensor, OnDevice) for tensor in _tensors([*own, *kwargs.values()]))
            if not (there if device is None else torch.device(device) == DEVICE):
                return found.as_subclass(Tensor) if isinstance(found, OnDevice) else found
            return _wrapped(found)


class pretended(TorchFunctionMode):
    """Inside, tensors can be moved to and made on DEVICE."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function is Tensor.to and any(isinstance(value, (OnDevice, str, torch.device)) and _is_there(value)
                                         for value in (*args, *kwargs.values())):
            return _moved(*args, **kwargs)
        device = kwargs.get("device")
        if device is not None and not isinstance(device, int) and torch.device(device) == DEVICE:
            return _wrapped(function(*args, **{**kwargs, "device": CPU}))
        return function(*args, **kwargs)


def _is_there(value: Any) -> bool:
    return isinstance(value, OnDevice) or not isinstance(value, Tensor) and torch.device(value) == DEVICE


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        return _tensors([*values.values()])
    return [tensor for value in values for tensor in _tensors(value)] if isinstance(values, (list, tuple)) else []


def _check(function: Any, arguments: list) -> None:
    """Raise where a real device would: tensors of two devices in one operation."""
    if function in INDEXING:
        target, index = arguments[:2]
        if not isinstance(target, OnDevice) and any(isinstance(tensor, OnDevice) for tensor in _tensors([index])):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        if len(arguments) == 3 and isinstance(arguments[2], Tensor) and arguments[2].ndim and _tensors([index]) and (
                isinstance(target, OnDevice) != isinstance(arguments[2], OnDevice)):
            raise RuntimeError("expected self and values to be on the same device")
        return
    tensors = _tensors(arguments)
    if function in UNMIXED or not any(isinstance(tensor, OnDevice) for tensor in tensors):
        return
    # A number of the CPU may take part in what the device computes, but not the other way round.
    if any(tensor.ndim and not isinstance(tensor, OnDevice) for tensor in tensors):
        raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices, "
                           f"cpu and {DEVICE} ({getattr(function, '__name__', function)})")


def _as_inputs(found: Any, inputs: Any) -> Any:
    """Gradients, each on the device of what it is of."""
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    return tuple(gradient.as_subclass(OnDevice) if isinstance(tensor, OnDevice) and gradient is not None else gradient
                 for gradient, tensor in zip(found, inputs))


def _plain(tensor: Tensor) -> Tensor:
    with torch._C.DisableTorchFunctionSubclass():
        return tensor.as_subclass(Tensor).clone() if isinstance(tensor, OnDevice) else tensor


def _wrapped(found: Any) -> Any:
    if isinstance(found, (list, tuple)):
        parts = [_wrapped(part) for part in found]
        return type(found)(*parts) if hasattr(found, "_fields") else type(found)(parts)
    if not isinstance(found, Tensor):
        return found
    with torch._C.DisableTorchFunctionSubclass():
        if found.dtype == torch.float64:
            raise TypeError(NO_FP64)
        return found if isinstance(found, OnDevice) else found.as_subclass(OnDevice)


def _moved(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Tensor.to. The device converts before it moves, and so do real ones."""
    with torch._C.DisableTorchFunctionSubclass():
        kept = {name: value for name, value in kwargs.items() if name in ("copy", "memory_format")}
        values = [value for name, value in kwargs.items() if name not in (*kept, "non_blocking")]
        here = DEVICE if isinstance(tensor, OnDevice) else CPU
        device, dtype = here, tensor.dtype
        for value in (*args, *values):
            if isinstance(value, Tensor):
                device, dtype = DEVICE if isinstance(value, OnDevice) else CPU, value.dtype
            elif isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, (str, torch.device)):
                device = torch.device(value)
        if DEVICE in (here, device) and (tensor.dtype if here == CPU else dtype) == torch.float64 and (
                dtype == torch.float64 or here == DEVICE):
            raise TypeError(NO_FP64)
        moved = tensor.to(dtype, **kept)
        if device == here:
            return _wrapped(moved) if here == DEVICE else moved
        moved = moved.clone()
        return moved.as_subclass(OnDevice) if device == DEVICE else moved.as_subclass(Tensor)
