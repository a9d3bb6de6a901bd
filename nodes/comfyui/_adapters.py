"""Low-rank adapters (LoRA, arXiv 2106.09685) of a network that ComfyUI has loaded, and how they take part in its
forward pass.

A layer W x + b becomes W x + b + (alpha / rank) up (down x), which for linear layers and convolutions is what core's
patch W + (alpha / rank) up down gives. It is added by a hook on the layer, so that no weight is touched and those of
any type will do; the hooks are removed in `finally`.
"""
from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._architectures import architecture_of, called_modules
from ._gradients import memory_of, with_checkpoint, with_forward

ATTENTION, FEED_FORWARD, ALL = "attention", "attention and feed-forward", "all linear and conv"
# By the names of ComfyUI's networks. Flux's and Chroma's single blocks have the projections of their attention and
# their feed-forward in one layer.
NAMES = {
    ATTENTION: re.compile(r"\.\w*(attn|attention)\w*\.|single_blocks\.\d+\.linear[12]$"),
    FEED_FORWARD: re.compile(r"\.\w*(attn|attention|mlp)\w*\.|\.(ff|feed_forward)\.|single_blocks\.\d+\.linear[12]$"),
    ALL: re.compile(""),
}
CONVOLUTIONS = {nn.Conv1d: functional.conv1d, nn.Conv2d: functional.conv2d, nn.Conv3d: functional.conv3d}


@dataclass
class LowRank:
    """The adapter of one layer: down (rank, inputs, ...) and up (outputs, rank, ...), shaped as weights of the layer's
    kind."""

    name: str  # of the layer within the network
    layer: nn.Module
    down: Tensor
    up: Tensor
    scale: float

    def __call__(self, x: Tensor) -> Tensor:
        """(alpha / rank) up (down x), in the precision of x."""
        down, up = self.down.to(x.dtype), self.up.to(x.dtype)
        convolution = _convolution(self.layer)
        if convolution is None:
            return self.scale * functional.linear(functional.linear(x, down), up)
        layer = self.layer
        return self.scale * convolution(convolution(x, down, None, layer.stride, layer.padding, layer.dilation), up)


def target_layers(network: nn.Module, target: str) -> dict[str, nn.Module]:
    """The layers of the network's blocks that an adapter with this target has, by name, in a fixed order.

    Raises ValueError for networks that are not in the table of architectures, unknown targets, and where no layer
    matches.
    """
    if target not in NAMES:
        raise ValueError(f"There is no target {target!r}: choose one of {', '.join(NAMES)}.")
    blocks = tuple(f"{blocks.path}." for blocks in architecture_of(network).blocks)
    found = {name: module for name, module in network.named_modules()
             if name.startswith(blocks) and NAMES[target].search(name) and _sizes(module) is not None}
    if not found:
        raise ValueError(f"No layer of this {type(network).__name__} matches the target {target!r}: choose another "
                         "target.")
    return found


def check_rank(layers: dict[str, nn.Module], rank: int) -> None:
    """Raise ValueError if a layer has fewer inputs or outputs than the rank: a low-rank change of it is of its own
    size."""
    if rank < 1:
        raise ValueError(f"rank is {rank}: it must be at least 1.")
    name, largest = min(((name, min(_sizes(layer))) for name, layer in layers.items()), key=lambda found: found[1])
    if rank > largest:
        raise ValueError(f"rank is {rank}, but the layer {name} allows {largest} at most: lower rank, or choose "
                         "another target.")


def new_adapters(layers: dict[str, nn.Module], rank: int, alpha: float, seed: int,
                 device: torch.device) -> list[LowRank]:
    """Adapters that change nothing yet, in fp32: down is uniform in +-1 / sqrt(inputs) from the seed, up is 0."""
    generator, adapters = torch.Generator("cpu").manual_seed(seed), []
    for name, layer in layers.items():
        outputs, inputs = _sizes(layer)
        # Shaped as the weights of convolutions are, which is how other programs expect them in a file.
        kernel = () if _convolution(layer) is None else layer.kernel_size
        down = (2 * torch.rand((rank, inputs), generator=generator) - 1) / math.sqrt(inputs)
        down = down.reshape(rank, inputs // math.prod(kernel), *kernel)
        up = torch.zeros((outputs, rank, *[1] * len(kernel)))
        adapters.append(LowRank(name, layer, *(value.to(device).requires_grad_() for value in (down, up)),
                                alpha / rank))
    return adapters


def parameters_of(adapters: list[LowRank]) -> list[Tensor]:
    return [parameter for adapter in adapters for parameter in (adapter.down, adapter.up)]


def lora_model(names: list[str], parameters: list[Tensor], alpha: float) -> dict[str, Tensor]:
    """Core's LORA_MODEL of trained parameters in the order of `parameters_of`, with the keys of core's own trainer."""
    content = {}
    for name, down, up in zip(names, parameters[::2], parameters[1::2]):
        content[f"diffusion_model.{name}.lora_down.weight"] = down.contiguous()
        content[f"diffusion_model.{name}.lora_up.weight"] = up.contiguous()
        content[f"diffusion_model.{name}.alpha"] = torch.tensor(float(alpha))
    return content


@contextlib.contextmanager
def attached(network: nn.Module, adapters: list[LowRank], save_memory: bool = False) -> Iterator[None]:
    """Let adapters take part in the network's forward pass, differentiable in their parameters.

    With `save_memory` only the inputs of blocks are kept for the backward pass, which then runs each of them once more.
    Enter with inference mode off and the weights as comfy_gradients.normal_weights makes them.
    """
    with contextlib.ExitStack() as stack:
        if save_memory:
            resident = memory_of([network])
            for block in called_modules(network):
                inside = {id(module) for module in block.modules() if module is not block}
                own = [adapter for adapter in adapters if id(adapter.layer) in inside]
                stack.enter_context(_checkpointed(block, own, resident))
        for adapter in adapters:
            stack.callback(adapter.layer.register_forward_hook(_adding(adapter)).remove)
        yield


def _adding(adapter: LowRank) -> Any:
    return lambda layer, inputs, output: output + adapter(inputs[0]).to(output.dtype)


def _checkpointed(block: nn.Module, adapters: list[LowRank],
                  resident: frozenset[int]) -> contextlib.AbstractContextManager[None]:
    """A block checkpoint that gives gradients in the parameters of adapters inside the block as well as in its
    inputs."""
    forward, names = block.forward, [f"adapter parameter {index}" for index in range(2 * len(adapters))]

    def run(*arguments: Any, **options: Any) -> Any:
        with _using(adapters, [options.pop(name) for name in names]):
            return forward(*arguments, **options)

    checkpointed = with_checkpoint(run, resident)
    # What a checkpoint gives gradients in are its arguments, so the parameters have to be among them.
    return with_forward(
        block,
        lambda *arguments, **options: checkpointed(*arguments, **options, **dict(zip(names, parameters_of(adapters)))))


@contextlib.contextmanager
def _using(adapters: list[LowRank], parameters: list[Tensor]) -> Iterator[None]:
    """Adapters with other parameters, in the order of `parameters_of`."""
    own = parameters_of(adapters)
    try:
        _set(adapters, parameters)
        yield
    finally:
        _set(adapters, own)


def _set(adapters: list[LowRank], parameters: list[Tensor]) -> None:
    for adapter, down, up in zip(adapters, parameters[::2], parameters[1::2]):
        adapter.down, adapter.up = down, up


def _convolution(layer: nn.Module) -> Any:
    return next((function for kind, function in CONVOLUTIONS.items() if isinstance(layer, kind)), None)


def _sizes(layer: nn.Module) -> tuple[int, int] | None:
    """Rows and columns of a layer's weight as a matrix, or None if it is not a layer that adapters are made for.

    Read from the layer and not from its weight, which is packed in quantised checkpoints.
    """
    if _convolution(layer) is not None:
        plain = layer.groups == 1 and layer.padding_mode == "zeros"
        return (layer.out_channels, layer.in_channels * math.prod(layer.kernel_size)) if plain else None
    if hasattr(layer, "in_features") and hasattr(layer, "out_features"):
        return layer.out_features, layer.in_features
    return None
