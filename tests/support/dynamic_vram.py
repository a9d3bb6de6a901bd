"""Core's dynamic VRAM without a card: its own casting (`comfy.ops`) runs, on an allocator and a stream that are Python.

What it cannot show is what the native allocator and a second stream do."""
import inspect

import torch

BUFFER = 2**26  # bytes, which all layers of an offload stream share


class _Stream:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def wait_stream(self, _):
        pass


class _Buffer:
    """The cast buffer: pieces of it are named by offset and size."""

    def __init__(self):
        self.memory = torch.zeros(BUFFER, dtype=torch.uint8)

    def size(self):
        return len(self.memory)

    def get(self, size, offset):
        return offset, size


class _Pages:
    """The memory of one layer on the card; `evict` what lies there, as another model does."""

    def __init__(self, size, resident):
        self.memory, self.resident = torch.zeros(size, dtype=torch.uint8), resident
        self.evict()

    def evict(self):
        self.signature = object()


def install(monkeypatch):
    """Let core cast weights of the CPU as it does those for a card."""
    import comfy.model_management
    import comfy.ops
    import comfy_aimdo.model_vbar
    import comfy_aimdo.torch
    from comfy.cli_args import args

    stream, buffer = _Stream(), _Buffer()
    monkeypatch.setattr(args, "disable_pinned_memory", True)
    for name, found in dict(get_offload_stream=lambda device: stream, sync_stream=lambda *_: None,
                            get_aimdo_cast_buffer=lambda *_: buffer, current_stream=lambda *_: None).items():
        monkeypatch.setattr(comfy.model_management, name, found)
    for name, found in dict(vbar_fault=lambda pages: pages.signature if pages.resident else None,
                            vbar_signature_compare=lambda one, other: one is not None and one is other,
                            vbar_unpin=lambda pages: None).items():
        monkeypatch.setattr(comfy_aimdo.model_vbar, name, found)
    monkeypatch.setattr(comfy_aimdo.torch, "aimdo_to_tensor", lambda piece, device: (
        buffer.memory[piece[0] : sum(piece)] if isinstance(piece, tuple) else piece.memory))
    # Core asks whether a weight lies elsewhere than what it is cast for, and casts for no CPU.
    source = inspect.getsource(comfy.ops.cast_bias_weight)
    changes = {'elif hasattr(s, "_v") and s.weight.device != device:': 'elif hasattr(s, "_v"):',
               'if hasattr(s, "_v") and comfy.model_management.is_device_cpu(device):': "if False:"}
    for asked, instead in changes.items():
        assert source.count(asked) == 1
        source = source.replace(asked, instead)
    namespace = dict(vars(comfy.ops))
    exec(compile(source, "cast_bias_weight", "exec"), namespace)  # noqa: S102 - core's own source
    monkeypatch.setattr(comfy.ops, "cast_bias_weight", namespace["cast_bias_weight"])


def make_dynamic(network, resident=True):
    """What ModelPatcherDynamic does to the layers of a network; `resident`: there is room for all of them."""
    import comfy.memory_management as memory

    for name, layer in network.named_modules():
        if not hasattr(layer, "comfy_cast_weights") or getattr(layer, "weight", None) is None:
            continue
        layer.comfy_cast_weights, layer.seed_key, layer._pin_state, layer._v_signature = True, name, {}, None
        size = 0
        for key in ("weight", "bias"):
            setattr(layer, f"{key}_lowvram_function", None)
            setattr(layer, f"{key}_function", [])
            value = getattr(layer, key, None)
            if value is not None:
                value._model_dtype = getattr(layer, f"{key}_comfy_model_dtype", None) or value.dtype
                size += memory.vram_aligned_size(
                    memory.TensorGeometry(shape=value.shape, dtype=value._model_dtype))
        layer._v = _Pages(size, resident)


def evict(network):
    for layer in network.modules():
        if hasattr(layer, "_v"):
            layer._v.evict()
