"""What stands between a network that ComfyUI has loaded and its gradients, in one place; all of it undone in `finally`.

1. Weights that were loaded under inference mode cannot be saved for a backward pass (`normal_weights`).
2. Some operators have no backward form; core offers another under its flag `in_training` (`differentiable`).
3. Attention kernels may have no backward pass; core asks for an override at most attentions
   (`attention_with_backward`), and where it does not, another stands in their place (`differentiable`).
4. Blocks that work in place, and weights in buffers that core fills again for the next layer: what the backward pass
   needs is copied when it is saved (`differentiable`).
5. Memory: block checkpoints whose gradients are exact for blocks that work in place (`checkpointed`).
"""
from __future__ import annotations

import contextlib
import functools
import importlib
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import comfy.ldm.modules.attention
import comfy.model_management
import torch
from torch import Tensor, nn

from ._draws import generator_states, generators_kept, set_generators
from ._dynamic_vram import forget_cast
from ._held_tensors import HeldTensors

# What core notes at a weight of a network in dynamic VRAM: the type that it is cast to.
OF_DYNAMIC_VRAM = "_model_dtype"


def present_modules(names: Iterable[str]) -> Iterator[types.ModuleType]:
    """Those of core's networks of these names that this version of core has."""
    for name in names:
        with contextlib.suppress(ModuleNotFoundError):
            yield importlib.import_module(f"comfy.ldm.{name}")


# In whose blocks attention asks for no override.
WITHOUT_OVERRIDE = tuple(present_modules(("hydit.attn_layers", "pixart.blocks", "supir.supir_modules")))


def attention_with_backward(attention: Callable, *arguments: Any, **options: Any) -> Tensor:
    """For `transformer_options["optimized_attention_override"]`: PyTorch's attention, which has a backward pass."""
    return comfy.ldm.modules.attention.attention_pytorch(*arguments, **options)


@contextlib.contextmanager
def normal_weights(networks: Iterable[nn.Module], patches: Any = None) -> Iterator[frozenset[int]]:
    """Let autograd use weights that were loaded under inference mode, for as long as the context lasts; gives the
    addresses of all of them, which stay where they are from the forward pass to the backward pass.

    Concerned are the weights of `networks`, those that hang in `patches` (a MODEL's `model_options`), and those of
    functions that another node has put in the place of a layer's own. Each inference tensor is replaced by a normal
    tensor on the same memory (through DLPack; a copy where a type or a device has no DLPack form), and the very same
    tensors are put back afterwards, unless core has put others in their place. Tensors of classes of their own, such as
    those of quantised checkpoints, stay: their layers make fresh tensors of them. Enter with inference mode off.
    """
    put_back: list[Callable[[], None]] = []
    kept: set[int] = set()

    def prepare(value: Tensor, put: Callable[[Any], None], get: Callable[[], Any] | None = None) -> None:
        if type(value) not in (Tensor, nn.Parameter):
            return
        if value.is_inference():
            alias = _normal_alias(value)
            put_back.append(functools.partial(_put_back, put, get, value, alias, alias.data_ptr()))
            put(alias)
            value = alias
        kept.add(value.untyped_storage().data_ptr())

    def prepare_network(network: nn.Module) -> None:
        for module in network.modules():
            held.seen[id(module)] = module
            for table in (module._parameters, module._buffers):
                for name, value in list(table.items()):
                    if value is not None:
                        prepare(value, functools.partial(table.__setitem__, name), functools.partial(table.get, name))
            forget_cast(module)
            # What has taken the layer's place, such as an adapter beside it.
            held.visit([vars(module).get("forward"), *module._forward_pre_hooks.values(),
                        *module._forward_hooks.values()])

    held = HeldTensors(prepare, prepare_network)
    try:
        for network in networks:
            held.visit(network)
        held.visit(patches)
        yield frozenset(kept)
    finally:
        for back in reversed(put_back):
            back()


def _put_back(put: Callable[[Any], None], get: Callable[[], Any] | None, value: Tensor, alias: Tensor,
              address: int) -> None:
    # Core has loaded or unloaded parts of a network meanwhile, as for a ControlNet that needs a VAE: what it has put in
    # the place of the alias, or the memory that it has moved it to, is what it reckons with.
    if get is None or (get() is alias and alias.data_ptr() == address):
        put(value)


def _normal_alias(value: Tensor) -> Tensor:
    plain = value.detach()
    if plain.dtype.is_floating_point and plain.element_size() == 1:
        plain = plain.view(torch.uint8)  # DLPack knows no float8 before PyTorch 2.10
    try:
        alias = torch.from_dlpack(plain).view(value.dtype)
    except (BufferError, RuntimeError, TypeError, ValueError):  # the last for devices that DLPack does not know
        alias = value.detach().clone()
    if isinstance(value, nn.Parameter):
        alias = nn.Parameter(alias, requires_grad=False)
    if hasattr(value, OF_DYNAMIC_VRAM):
        setattr(alias, OF_DYNAMIC_VRAM, getattr(value, OF_DYNAMIC_VRAM))
    return alias


def memory_of(networks: Iterable[nn.Module]) -> frozenset[int]:
    """The addresses of all weights of networks, which stay where they are from the forward pass to the backward
    pass."""
    return frozenset(value.untyped_storage().data_ptr() for network in networks for module in network.modules()
                     for table in (module._parameters, module._buffers) for value in table.values()
                     if type(value) in (Tensor, nn.Parameter))


@contextlib.contextmanager
def differentiable(resident: frozenset[int] | None) -> Iterator[None]:
    """A forward pass inside can be differentiated, also after the context has ended.

    With `resident` (see `normal_weights`), whatever autograd saves that is not one of those weights is copied, so that
    neither a block that works in place nor a buffer that is filled again can change it: exact, at the price of memory.
    """
    before = comfy.model_management.in_training
    attentions = [module.optimized_attention for module in WITHOUT_OVERRIDE]

    def copied(tensor: Tensor) -> Tensor:
        return tensor if tensor.untyped_storage().data_ptr() in resident else tensor.clone()

    copies = torch.autograd.graph.saved_tensors_hooks(copied, lambda tensor: tensor)
    try:
        comfy.model_management.in_training = True
        for module in WITHOUT_OVERRIDE:
            module.optimized_attention = comfy.ldm.modules.attention.attention_pytorch
        with contextlib.nullcontext() if resident is None else copies:
            yield
    finally:
        comfy.model_management.in_training = before
        for module, attention in zip(WITHOUT_OVERRIDE, attentions):
            module.optimized_attention = attention


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
