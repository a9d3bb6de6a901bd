"""Attention that can be differentiated twice."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


class MathAttention(TorchFunctionMode):
    """Inside, `scaled_dot_product_attention` is computed by its formula, which alone of its kernels has a second
    derivative.

    `sdpa_kernel(SDPBackend.MATH)` around a model does not hold where the model makes a choice of its own inside, as
    ComfyUI does on NVIDIA cards; here the choice is made at each call.
    """

    def __torch_function__(self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        with sdpa_kernel(SDPBackend.MATH):
            return func(*args, **(kwargs or {}))
