"""How coarsely a MODEL computes."""
from __future__ import annotations

from typing import Any

import torch

# Roundings of the precision that a model computes in, by which its answers to one question may differ: kernels are
# chosen by size and by free memory. In single precision this is below what a comparison allows anyway.
ROUNDINGS = 4
SINGLE_PRECISION = 1e-5
# Convolutions in single precision round what goes in to ten bits on cards, as half precision does, unless torch is told
# otherwise.
TENSOR_FLOAT_32 = torch.finfo(torch.float16).eps


def rounding_of_model(model: Any) -> float:
    """How far the precision that a MODEL computes in moves its answers, relative to them."""
    dtype = computing_type(model.model)
    on_card = dtype is torch.float32 and torch.device(model.load_device).type == "cuda"
    return max(SINGLE_PRECISION, ROUNDINGS * (TENSOR_FLOAT_32 if on_card else eps_of(dtype)))


def eps_of(dtype: Any) -> float:
    """The machine epsilon of a type."""
    known = isinstance(dtype, torch.dtype) and dtype.is_floating_point
    # 8-bit weights are computed with in another precision.
    return torch.finfo(dtype if known and dtype.itemsize > 1 else torch.bfloat16).eps


def computing_type(inner: Any) -> Any:
    """The type that core's model of a MODEL computes in."""
    return getattr(inner, "manual_cast_dtype", None) or inner.get_dtype()
