"""Whether a LoRA file's patches are of the size of the layers that they are for.

Core leaves out what is of another size, and says so in its log alone; and what has as many numbers in another shape it
adds as if it fitted.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import comfy.weight_adapter as adapters
import torch
from comfy.weight_adapter.boft import BOFTAdapter
from comfy.weight_adapter.glora import GLoRAAdapter

PLAIN = (torch.float32, torch.float16, torch.bfloat16)


def fits(before: Any, after: Any) -> list[bool]:
    """Whether each patch that a patcher has more than before is of its layer's size, as far as that can be told."""
    weights = after.model.state_dict()
    return [fits_layer(patch, weights[name]) for name, patches in after.patches.items()
            for patch in patches[len(before.patches.get(name, [])):]]


def fits_layer(patch: tuple, weight: Any) -> bool:
    """Whether one of a patcher's patches is of the size of a weight, or of the part of it that it is for."""
    content, offset = patch[1], patch[3]
    if type(weight) is not torch.Tensor or weight.dtype not in PLAIN:
        return True  # quantised: its shape may be that of packed numbers
    shape = list(weight.shape)
    if offset is not None:
        shape[offset[0]] = offset[2]
    if isinstance(content, tuple) and content[0] == "diff" and len(content[1]) == 1:
        return list(content[1][0].shape) == shape
    known = SIZES.get(type(content))
    return known is None or known(content.weights, shape)


def _lora(weights: Sequence[Any], shape: list[int]) -> bool:
    up, down, _, middle, _, padded = weights
    if padded is not None:
        return True  # core makes the layer as large as that
    if middle is not None:
        return _is(shape, len(up), down.shape[1] * middle[0, 0].numel())
    return up[0].numel() == len(down) and _is(shape, len(up), down[0].numel())


def _loha(weights: Sequence[Any], shape: list[int]) -> bool:
    sizes = [_product(*factors) for factors in ((weights[0], weights[1], weights[5]),
                                                (weights[3], weights[4], weights[6]))]
    return sizes[0] is not None and sizes[0] == sizes[1] and _is(shape, *sizes[0])


def _lokr(weights: Sequence[Any], shape: list[int]) -> bool:
    first, second, _, first_up, first_down, second_up, second_down, core, _ = weights
    sizes = [_product(up, down, middle) if whole is None else (len(whole), whole[0].numel())
             for whole, up, down, middle in ((first, first_up, first_down, None),
                                             (second, second_up, second_down, core))]
    if None in sizes:
        return False
    (rows, columns), (inner_rows, inner_columns) = sizes
    return _is(shape, rows * inner_rows, columns * inner_columns)


def _product(up: Any, down: Any, core: Any) -> tuple[int, int] | None:
    """The rows and columns of up @ down, or of a kernel that they are multiplied to (Tucker); None where they do not
    fit each other."""
    if core is None:
        return (len(up), down[0].numel()) if up[0].numel() == len(down) else None
    if core.shape[:2] != (len(up), len(down)):
        return None
    return up.shape[1], down.shape[1] * core[0, 0].numel()


def _rotations(weights: Sequence[Any], shape: list[int]) -> bool:
    """Of OFT (blocks, size, size), and BOFT with the layers before: each block turns as many outputs."""
    return math.prod(weights[0].shape[-3:-1]) == shape[0]


def _glora(weights: Sequence[Any], shape: list[int]) -> bool:
    _, _, first, second, *_ = weights
    # Those of earlier versions of LyCORIS are the other way round.
    return any(_is(shape, len(up), down[0].numel()) for up, down in ((first, second), (second, first)))


def _is(shape: list[int], rows: int, columns: int) -> bool:
    return shape[0] == rows and math.prod(shape[1:]) == columns


SIZES: dict[type, Callable[[Sequence[Any], list[int]], bool]] = {
    adapters.LoRAAdapter: _lora, adapters.LoHaAdapter: _loha, adapters.LoKrAdapter: _lokr,
    adapters.OFTAdapter: _rotations, BOFTAdapter: _rotations, GLoRAAdapter: _glora}
