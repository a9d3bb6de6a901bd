"""Rows of work on a Denoiser: here in micro-batches, or by many workers that have one each."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from torch import Tensor

from ..execution import BatchSize
from ._denoiser import Denoiser

Result = TypeVar("Result")
# Given a Denoiser, what works on rows with it: rows by their numbers, and the latents of these rows if there are any.
Task = Callable[[Any], Callable[..., Result]]


class SpreadDenoiser(Denoiser, Protocol):
    """A Denoiser behind which workers stand that have it each."""

    def over(self, batch: BatchSize, total: int, task: Task[Result], first: int = 0,
             latents: Tensor | None = None) -> Iterator[tuple[slice, Result]]:
        """What `spread` says, by the workers: `task` and what it gives are sent to them and back by pickle, tensors
        come back on the CPU."""
        ...


def is_spread(denoiser: Any) -> bool:
    """Whether it is a `SpreadDenoiser`, whose workers are given whole micro-batches."""
    return hasattr(denoiser, "over")


def spread(denoiser: Any, batch: BatchSize, total: int, task: Task[Result], *, first: int = 0,
           latents: Tensor | None = None) -> Iterator[tuple[slice, Result]]:
    """What a task gives for the rows `first` ... `total`, micro-batch by micro-batch and in their order, whoever works.

    `task(denoiser)` is called once by whoever works, and what it returns with each micro-batch: the slice of its rows,
    and the part of `latents` (total, C, H, W) that belongs to them, if there are latents. A micro-batch that runs out
    of memory is halved as `BatchSize.over` does. So a task is a function of a module, with what it needs bound to it
    by `functools.partial`, and the same rows come out the same, whether it is a `SpreadDenoiser` that is given or any
    other.

    >>> def doubling(denoiser):
    ...     return lambda rows: [2 * row for row in range(rows.start, rows.stop)]
    >>> [found for _, found in spread(None, BatchSize(2), 3, doubling)]
    [[0, 2], [4]]
    """
    if is_spread(denoiser):
        return denoiser.over(batch, total, task, first, latents)
    return work_here(denoiser, batch, total, task, first, latents)


def work_here(denoiser: Any, batch: BatchSize, total: int, task: Task[Result], first: int = 0,
              latents: Tensor | None = None, *, before: int = 0) -> Iterator[tuple[slice, Result]]:
    """`spread` in this process; `before`: the number of the first of `latents`, where they are not all."""
    function = task(denoiser)
    if latents is None:
        return batch.over(total, function, first)
    return batch.over(total, lambda rows: function(rows, latents[rows.start - before : rows.stop - before]), first)
