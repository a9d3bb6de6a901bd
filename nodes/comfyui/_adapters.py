"""How low-rank adapters (`dma.training.LowRank`) take part in the forward pass of a network that ComfyUI has loaded.

A layer W x + b becomes W x + b + (alpha / rank) up (down x), which for linear layers and convolutions is what core's
patch W + (alpha / rank) up down gives. It is added by a hook on the layer, so that no weight is touched and those of
any type will do; the hooks are removed in `finally`.
"""
from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import comfy.sd
import torch
from torch import Tensor, nn

from ...dma.choices import check_choice
from ...dma.training import LowRank, matrix_size, parameters_of
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


def target_layers(network: nn.Module, target: str) -> dict[str, nn.Module]:
    """The layers of the network's blocks that an adapter with this target has, by name, in a fixed order.

    Raises ValueError for networks that are not in the table of architectures, unknown targets, and where no layer
    matches.
    """
    check_choice(target, NAMES, "target")
    blocks = tuple(f"{blocks.path}." for blocks in architecture_of(network).blocks)
    found = {name: module for name, module in network.named_modules()
             if name.startswith(blocks) and NAMES[target].search(name) and matrix_size(module) is not None}
    if not found:
        raise ValueError(f"No layer of this {type(network).__name__} matches the target {target!r}: choose another "
                         "target.")
    return found


def check_rank(layers: dict[str, nn.Module], rank: int) -> None:
    """Raise ValueError if a layer has fewer inputs or outputs than the rank: a low-rank change of it is of its own
    size."""
    if rank < 1:
        raise ValueError(f"rank is {rank}: it must be at least 1.")
    name, largest = min(((name, min(matrix_size(layer))) for name, layer in layers.items()), key=lambda found: found[1])
    if rank > largest:
        raise ValueError(f"rank is {rank}, but the layer {name} allows {largest} at most: lower rank, or choose "
                         "another target.")


def lora_model(names: list[str], parameters: list[Tensor], alpha: float) -> dict[str, Tensor]:
    """Core's LORA_MODEL of trained parameters in the order of `parameters_of`, with the keys of core's own trainer."""
    content = {}
    for name, down, up in zip(names, parameters[::2], parameters[1::2]):
        content[f"diffusion_model.{name}.lora_down.weight"] = down.contiguous()
        content[f"diffusion_model.{name}.lora_up.weight"] = up.contiguous()
        content[f"diffusion_model.{name}.alpha"] = torch.tensor(float(alpha))
    return content


def with_lora(model: Any, lora: dict[str, Tensor]) -> Any:
    """The MODEL with a LORA_MODEL at strength 1, as core's own loader gives it."""
    return comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)[0]


@contextlib.contextmanager
def attached(network: nn.Module, adapters: list[LowRank], save_memory: bool = False) -> Iterator[None]:
    """Let adapters take part in the network's forward pass, differentiable in their parameters.

    With `save_memory` only the inputs of blocks are kept for the backward pass, which then runs each of them once more.
    Enter with inference mode off and the weights as `normal_weights` makes them.
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
