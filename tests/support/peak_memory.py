"""How large the tensors are that a computation makes on its way."""
import tracemalloc

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LargestTensor(TorchDispatchMode):
    """Keeps the bytes of the largest tensor that an operation has made, views of its arguments not counted."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        given = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves((args, kwargs))
                 if isinstance(leaf, torch.Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() not in given:
                self.bytes = max(self.bytes, leaf.untyped_storage().nbytes())
        return result


def largest_made_by(computation) -> int:
    """The bytes of the largest tensor that a computation makes, or of all of numpy's arrays at once where that is
    more."""
    with LargestTensor():  # what torch imports at the first time is not counted
        torch.zeros(2).sum()
    tracemalloc.start()
    try:
        with LargestTensor() as mode:
            computation()
        return max(mode.bytes, tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
