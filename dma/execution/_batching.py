"""Micro-batches: latents wait on the CPU, the model sees a few at a time, and running out of memory halves the
batch."""
from __future__ import annotations

import gc
import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

Result = TypeVar("Result")
Told = TypeVar("Told")

# 64 latents of 4x8x8, 4 of 4x64x64, 1 of 4x128x128: safe first guesses, which halving corrects downwards.
FIRST_GUESS_ELEMENTS = 65536
LARGEST_GUESS = 64

# How allocators and libraries say it that raise no exception of its own for it, in small letters.
OUT_OF_MEMORY = (
    "out of memory",  # CUDA, HIP and MPS
    "can't allocate memory", "not enough memory",  # the CPU's allocator, on Linux and on Windows
    "alloc_failed", "allocation_failed",  # cuBLAS, cuDNN and their like, for their own workspaces
    "out_of_device_memory", "out_of_host_memory",  # Intel's Level Zero and Unified Runtime
    "not enough gpu video memory",  # DirectML
    "invalid buffer size",  # MPS, of one tensor that is larger than any may be
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device, a library on it, or the CPU's allocator had no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in OUT_OF_MEMORY)


@dataclass
class BatchSize:
    """The number of latents per model call; only ever gets smaller."""

    value: int

    @classmethod
    def automatic(cls, latent_elements: int) -> BatchSize:
        return cls(max(1, min(LARGEST_GUESS, FIRST_GUESS_ELEMENTS // max(1, latent_elements))))

    def over(self, total: int, function: Callable[[slice], Result], first: int = 0) -> Iterator[tuple[slice, Result]]:
        """Call `function` on slices that together cover `total` items from `first` on; yields each with its result.

        A slice that runs out of memory is halved until it fits. Raises the original out-of-memory error when a single
        item does not fit.

        >>> [(rows.start, rows.stop, result) for rows, result in BatchSize(2).over(3, lambda rows: "ok")]
        [(0, 2, 'ok'), (2, 3, 'ok')]
        """
        while first < total:
            rows = slice(first, min(first + self.value, total))
            try:
                result = function(rows)
            except (RuntimeError, MemoryError) as error:
                self._halve(rows, error)
            else:
                first = rows.stop
                yield rows, result
                continue
            # Outside the except clause the error's traceback no longer keeps the failed batch alive.
            _free_memory(self.value)

    def through(self, total: int, function: Callable[[slice], Generator[Told, None, None]], first: int = 0,
                size: int | None = None) -> Iterator[Told]:
        """`over` for a `function` that tells of its work on a slice while it does it, and gives nothing else back.

        `size` is that of the first slice, where another than usual is asked for.

        >>> list(BatchSize(2).through(3, lambda rows: iter([rows.start, rows.stop])))
        [0, 2, 2, 3]
        """
        while first < total:
            rows = slice(first, min(first + (size or self.value), total))
            size = None
            try:
                yield from function(rows)
            except (RuntimeError, MemoryError) as error:
                self._halve(rows, error)
            else:
                first = rows.stop
                continue
            _free_memory(self.value)

    def _halve(self, rows: slice, error: Exception) -> None:
        """At most half as many rows as have run out of memory; raises the error if it says something else, or of one
        row."""
        if not is_out_of_memory(error) or rows.stop - rows.start <= 1:
            raise error
        self.value = min(self.value, (rows.stop - rows.start) // 2)


def _free_memory(size: int) -> None:
    logging.warning("Out of memory: going on with %d latents per batch.", size)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def choose_batch(batch: BatchSize | None, shape: Sequence[int]) -> BatchSize:
    """The batch that was asked for, or else a first guess for latents of `shape` (C, H, W)."""
    return batch or BatchSize.automatic(math.prod(shape))


def batch_of(size: int) -> BatchSize | None:
    """Batches of so many latents; 0 leaves the choice open. Raises ValueError for a negative number."""
    if size < 0:
        raise ValueError(f"batch_size is {size}: use 0 for automatic, or a positive number.")
    return BatchSize(size) if size else None


def split_at_multiples(rows: slice, size: int) -> list[slice]:
    """Parts of rows, counted from their first, that end where `size` divides the number of a row, or with the rows.

    >>> split_at_multiples(slice(10, 40), 16)
    [slice(0, 6, None), slice(6, 22, None), slice(22, 30, None)]
    """
    edges = [rows.start, *range(rows.start - rows.start % size + size, rows.stop, size), rows.stop]
    return [slice(start - rows.start, stop - rows.start) for start, stop in zip(edges, edges[1:])]
