"""Low-rank adapters (LoRA, arXiv 2106.09685) of a network's linear layers and convolutions.

A layer W x + b becomes W x + b + (alpha / rank) up (down x), where down is (rank, inputs) and up (outputs, rank): a
change of W of at most that rank. For convolutions down has the layer's own kernel and stride, and up is 1 x 1.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

CONVOLUTIONS = {nn.Conv1d: functional.conv1d, nn.Conv2d: functional.conv2d, nn.Conv3d: functional.conv3d}


@dataclass
class LowRank:
    """The adapter of one layer: down (rank, inputs, ...) and up (outputs, rank, ...), shaped as weights of the layer's
    kind."""

    name: str  # of the layer within the network
    layer: nn.Module
    down: Tensor
    up: Tensor
    scale: float  # alpha / rank

    def __call__(self, x: Tensor) -> Tensor:
        """(alpha / rank) up (down x), in the precision of x."""
        down, up = self.down.to(x.dtype), self.up.to(x.dtype)
        convolution = _convolution(self.layer)
        if convolution is None:
            return self.scale * functional.linear(functional.linear(x, down), up)
        layer = self.layer
        return self.scale * convolution(convolution(x, down, None, layer.stride, layer.padding, layer.dilation), up)


def new_adapters(layers: dict[str, nn.Module], rank: int, alpha: float, *, seed: int = 0,
                 device: torch.device | str = "cpu") -> list[LowRank]:
    """Adapters that change nothing yet, in fp32: down is uniform in +-1 / sqrt(inputs) from the seed, up is 0.

    layers: those of a kind that has a `matrix_size`, by name. The numbers depend on their order and sizes and on the
    seed alone.

    >>> adapter, = new_adapters({"linear": nn.Linear(3, 2)}, rank=1, alpha=1.0)
    >>> adapter.down.shape, adapter.up.shape, adapter(torch.ones(1, 3)).tolist()
    (torch.Size([1, 3]), torch.Size([2, 1]), [[0.0, 0.0]])
    """
    generator, adapters = torch.Generator("cpu").manual_seed(seed), []
    for name, layer in layers.items():
        if (size := matrix_size(layer)) is None:
            raise ValueError(f"The layer {name} is a {type(layer).__name__}, which adapters are not made for.")
        outputs, inputs = size
        # Shaped as the weights of convolutions are, which is how other programs expect them in a file.
        kernel = () if _convolution(layer) is None else cast("tuple[int, ...]", layer.kernel_size)
        down = (2 * torch.rand((rank, inputs), generator=generator) - 1) / math.sqrt(inputs)
        down = down.reshape(rank, inputs // math.prod(kernel), *kernel)
        up = torch.zeros((outputs, rank, *[1] * len(kernel)))
        adapters.append(LowRank(name, layer, down.to(device).requires_grad_(), up.to(device).requires_grad_(),
                                alpha / rank))
    return adapters


def parameters_of(adapters: list[LowRank]) -> list[Tensor]:
    """What is trained of adapters: down and up of the first, down and up of the second, and so on."""
    return [parameter for adapter in adapters for parameter in (adapter.down, adapter.up)]


def matrix_size(layer: nn.Module) -> tuple[int, int] | None:
    """Rows and columns of a layer's weight as a matrix, or None if it is not a layer that adapters are made for.

    Read from the layer and not from its weight, which is packed in quantised checkpoints.

    >>> matrix_size(nn.Conv2d(4, 8, 3)), matrix_size(nn.LayerNorm(4))
    ((8, 36), None)
    """
    sizes: Any = layer  # what they are called is the same in every library, their classes are not
    if _convolution(layer) is not None:
        plain = sizes.groups == 1 and sizes.padding_mode == "zeros"
        return (sizes.out_channels, sizes.in_channels * math.prod(sizes.kernel_size)) if plain else None
    if hasattr(layer, "in_features") and hasattr(layer, "out_features"):
        return sizes.out_features, sizes.in_features
    return None


def _convolution(layer: nn.Module) -> Callable[..., Tensor] | None:
    return next((function for kind, function in CONVOLUTIONS.items() if isinstance(layer, kind)), None)
