"""Shortening features so that their inner products stay."""
from __future__ import annotations

import torch
from torch import Tensor

# A prime, so that numbers that end up in one sum do not share their place in a map, whose sides are powers of two.
SKETCH_SIZE = 4093


class Sketch:
    """Features (B, ...) in at most `size` numbers, which keep inner products: <Sx, Sy> = <x, y> in the mean over seeds.

    Every number gets a random sign, and those whose index agrees modulo `size` are added (a tensor sketch without
    hashing; Charikar, Chen, Farach-Colton 2002). The standard deviation of <Sx, Sy> is about |x| |y| / sqrt(size).
    Features of no more than `size` numbers stay as they are. S is linear.

    >>> Sketch(4, seed=0)(torch.arange(12.0).view(2, 2, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(self, size: int = SKETCH_SIZE, seed: int = 0):
        self.size, self.seed = size, seed
        self.signs: dict[int, Tensor] = {}

    def __call__(self, features: Tensor) -> Tensor:
        flat = features.flatten(1)  # (B, D)
        count = flat.shape[1]
        if count <= self.size:
            return flat
        if count not in self.signs:
            generator = torch.Generator("cpu").manual_seed(self.seed)
            drawn = torch.randint(0, 2, (count,), generator=generator, dtype=torch.int8) * 2 - 1
            self.signs[count] = drawn.to(flat.device)
        signed = torch.nn.functional.pad(flat * self.signs[count], (0, -count % self.size))
        return signed.unflatten(1, (-1, self.size)).sum(1)  # (B, size)
