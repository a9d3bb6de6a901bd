"""Micro-batches: latents wait on the CPU, the model sees a few at a time, and running out of memory halves the batch."""
from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

Result = TypeVar("Result")

# 64 latents of 4x8x8, 4 of 4x64x64, 1 of 4x128x128: safe first guesses, which halving corrects downwards.
FIRST_GUESS_ELEMENTS = 65536
LARGEST_GUESS = 64


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device, or the CPU's allocator, had no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text
                                                or "not enough memory" in text)


@dataclass
class BatchSize:
    """The number of latents per model call; only ever gets smaller."""

    value: int

    @classmethod
    def automatic(cls, latent_elements: int) -> BatchSize:
        return cls(max(1, min(LARGEST_GUESS, FIRST_GUESS_ELEMENTS // max(1, latent_elements))))

    def run(self, first: int, total: int, function: Callable[[slice], Result]) -> tuple[slice, Result]:
        """Call `function` on the next slice of `total` items from `first` on, halving the slice until it fits.

        Raises the original out-of-memory error when a single item does not fit.
        """
        while True:
            rows = slice(first, min(first + self.value, total))
            try:
                return rows, function(rows)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or rows.stop - rows.start <= 1:
                    raise
                self.value = (rows.stop - rows.start) // 2
                logging.warning("Out of memory: going on with %d latents per batch.", self.value)
            # Outside the except clause the error's traceback no longer keeps the failed batch alive.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
