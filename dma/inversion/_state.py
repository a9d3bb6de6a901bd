"""What a method carries from step to step."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# The latents (B, C, H, W) on the CPU, then whatever else a method carries from step to step, one row per latent.
State = tuple[Tensor, ...]


def rows_of(state: State, rows: slice) -> State:
    """The state of some of the latents.

    >>> rows_of((torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])), slice(1, 2))
    (tensor([2.]), tensor([4.]))
    """
    return tuple(item[rows] for item in state)


def joined(before: State, parts: Sequence[State]) -> State:
    """The state after a step, from those of its micro-batches in order.

    What a method only reads comes back as views of the state `before`, and may be large: it is not copied.

    >>> joined((torch.zeros(3),), [(torch.tensor([1.0, 2.0]),), (torch.tensor([3.0]),)])
    (tensor([1., 2., 3.]),)
    """
    kept = [len(before) > place and item.data_ptr() == before[place].data_ptr() for place, item in enumerate(parts[0])]
    return tuple(before[place] if keep else torch.cat([part[place] for part in parts])
                 for place, keep in enumerate(kept))
