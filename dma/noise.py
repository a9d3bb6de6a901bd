"""The starting noise of a run, from one generator on the CPU: all of it at once, or a few rows at a time."""
from __future__ import annotations

import torch
from torch import Tensor

# PyTorch draws the same normal numbers in parts as at once if every part but the last has a multiple of 16 of them, and
# the last no fewer than 16.
ROWS_AT_ONCE = 16


def starting_noise(count: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal noise (count, *shape), the same that ComfyUI's KSampler draws for a batch with this seed."""
    return torch.randn((count, *shape), generator=torch.Generator("cpu").manual_seed(seed))


class NoiseRows:
    """Rows of `starting_noise(count, shape, seed)`, drawn when they are asked for and forgotten once they are behind.

    >>> rows = NoiseRows(40, (2, 3, 3), seed=1)
    >>> parts = torch.cat([rows[0:7], rows[7:20], rows[20:40]])
    >>> bool((parts == starting_noise(40, (2, 3, 3), seed=1)).all())
    True
    """

    def __init__(self, count: int, shape: tuple[int, ...], seed: int):
        self.count, self.shape = count, shape
        self.generator = torch.Generator("cpu").manual_seed(seed)
        self.first, self.rows = 0, torch.empty(0, *shape)

    def __getitem__(self, wanted: slice) -> Tensor:
        """Rows from `wanted.start`, which must never fall from call to call, to `wanted.stop`."""
        # Cloned, because a slice would keep the rows before it in memory.
        self.rows, self.first = self.rows[wanted.start - self.first :].clone(), wanted.start
        while (drawn := self.first + len(self.rows)) < wanted.stop:
            size = ROWS_AT_ONCE if self.count - drawn >= 2 * ROWS_AT_ONCE else self.count - drawn
            self.rows = torch.cat([self.rows, torch.randn((size, *self.shape), generator=self.generator)])
        return self.rows[: wanted.stop - wanted.start]
