"""What stands between a network that ComfyUI has loaded and its gradients, in one place; all of it undone in `finally`.

1. Weights that were loaded under inference mode cannot be saved for a backward pass (`normal_weights`).
2. Some operators have no backward form; core offers another under its flag `in_training` (`differentiable`).
3. Attention kernels may have no backward pass; core asks for an override at most attentions
   (`attention_with_backward`).
4. Blocks that work in place, and weights in buffers that core fills again for the next layer: what the backward pass
   needs is copied when it is saved (`differentiable`).
5. Memory: block checkpoints whose gradients are exact for blocks that work in place (`checkpointed`).
"""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import comfy.ldm.modules.attention
import comfy.model_management
import torch
from torch import Tensor, nn

from ._draws import generator_states, generators_kept, set_generators


def attention_with_backward(attention: Callable, *arguments: Any, **options: Any) -> Tensor:
    """For `transformer_options["optimized_attention_override"]`: PyTorch's attention, which has a backward pass."""
    return comfy.ldm.modules.attention.attention_pytorch(*arguments, **options)


@contextlib.contextmanager
def normal_weights(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Let autograd use weights that were loaded under inference mode, for as long as the context lasts.

    Each inference tensor is replaced by a normal tensor on the same memory (through DLPack; a copy where a type has no
    DLPack form), and the very same parameters are put back afterwards. Tensors of classes of their own, such as those
    of quantised checkpoints, stay: their layers make fresh tensors of them. Enter with inference mode off.
    """
    replaced: list[tuple[dict, str, Any]] = []
    try:
        for network in networks:
            for module in network.modules():
                for table in (module._parameters, module._buffers):
                    for name, value in table.items():
                        if type(value) in (Tensor, nn.Parameter) and value.is_inference():
                            replaced.append((table, name, value))
                            table[name] = _normal_alias(value, as_parameter=table is module._parameters)
        yield
    finally:
        for table, name, value in replaced:
            table[name] = value


def _normal_alias(value: Tensor, as_parameter: bool) -> Tensor:
    try:
        alias = torch.from_dlpack(value.detach())
    except (BufferError, RuntimeError, TypeError):
        alias = value.detach().clone()
    return nn.Parameter(alias, requires_grad=False) if as_parameter else alias


def memory_of(networks: Iterable[nn.Module]) -> frozenset[int]:
    """The addresses of all weights that stay where they are from the forward pass to the backward pass."""
    return frozenset(value.untyped_storage().data_ptr() for network in networks for module in network.modules()
                     for table in (module._parameters, module._buffers) for value in table.values()
                     if type(value) in (Tensor, nn.Parameter))


@contextlib.contextmanager
def differentiable(resident: frozenset[int] | None) -> Iterator[None]:
    """A forward pass inside can be differentiated, also after the context has ended.

    With `resident` (see `memory_of`), whatever autograd saves that is not one of those weights is copied, so that
    neither a block that works in place nor a buffer that is filled again can change it: exact, at the price of memory.
    """
    before = comfy.model_management.in_training
    comfy.model_management.in_training = True

    def copied(tensor: Tensor) -> Tensor:
        return tensor if tensor.untyped_storage().data_ptr() in resident else tensor.clone()

    copies = torch.autograd.graph.saved_tensors_hooks(copied, lambda tensor: tensor)
    try:
        with contextlib.nullcontext() if resident is None else copies:
            yield
    finally:
        comfy.model_management.in_training = before


class _BlockCheckpoint(torch.autograd.Function):
    """Runs a block without recording, and again with recording when its gradient is asked for.

    Unlike torch.utils.checkpoint it gives each run copies of its inputs, because a block that works in place would
    otherwise be run again on what it left behind, which gives wrong gradients without a word.
    """

    @staticmethod
    def forward(ctx, run, resident, *inputs):
        ctx.run, ctx.resident = run, resident
        ctx.save_for_backward(*inputs)
        ctx.generators = generator_states()  # a patch that draws has to draw the same again
        with torch.no_grad():
            return run(*(tensor.clone() for tensor in inputs))

    @staticmethod
    def backward(ctx, *gradients):
        inputs = [tensor.detach().requires_grad_(wanted)
                  for tensor, wanted in zip(ctx.saved_tensors, ctx.needs_input_grad[2:])]
        with torch.enable_grad(), differentiable(ctx.resident), generators_kept():
            set_generators(ctx.generators)
            outputs = ctx.run(*(tensor.clone() for tensor in inputs))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        known = [(output, gradient) for output, gradient in zip(outputs, gradients)
                 if gradient is not None and output is not None and output.requires_grad]
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        found = iter(torch.autograd.grad([output for output, _ in known], wanted, [gradient for _, gradient in known],
                                         allow_unused=True))
        return None, None, *(next(found) if tensor.requires_grad else None for tensor in inputs)


@contextlib.contextmanager
def checkpointed(blocks: Iterable[nn.Module], resident: frozenset[int]) -> Iterator[None]:
    """Keep only the inputs of `blocks` for the backward pass, which then runs each of them once more."""
    with contextlib.ExitStack() as stack:
        for block in blocks:
            stack.enter_context(with_forward(block, with_checkpoint(block.forward, resident)))
        yield


@contextlib.contextmanager
def with_forward(block: nn.Module, forward: Callable) -> Iterator[None]:
    """Give a block another forward function for a while."""
    before = vars(block).get("forward")  # of another node, where there is one; the class has its own
    block.forward = forward
    try:
        yield
    finally:
        if before is None:
            del block.forward
        else:
            block.forward = before


def with_checkpoint(forward: Callable, resident: frozenset[int]) -> Callable:
    """`forward` as a block checkpoint: what its tensors' gradients need is computed again."""
    def run_checkpointed(*arguments: Any, **options: Any) -> Any:
        everything = [*arguments, *options.values()]
        places = [index for index, value in enumerate(everything) if isinstance(value, Tensor)]
        if not torch.is_grad_enabled() or not any(everything[index].requires_grad for index in places):
            return forward(*arguments, **options)
        # The block's index and the like are written into one dict on the way: a second run has to see them as they
        # were.
        kept = [None if isinstance(value, Tensor) else dict(value) if isinstance(value, dict) else value
                for value in everything]

        def run(*tensors: Tensor) -> Any:
            values = list(kept)
            for index, tensor in zip(places, tensors):
                values[index] = tensor
            return forward(*values[:len(arguments)], **dict(zip(options, values[len(arguments):])))

        return _BlockCheckpoint.apply(run, resident, *(everything[index] for index in places))

    return run_checkpointed
