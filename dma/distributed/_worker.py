"""What runs in the process of a worker."""
from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..diffusion import work_here
from ..execution import BatchSize
from ._imported_ray import imported_ray
from ._on_cpu import on_cpu

ONLY = ""  # the name of a Denoiser that is alone


class Worker:
    """One worker: Denoisers that are made once, and blocks of rows that it is given.

    >>> worker = Worker(lambda: "a Denoiser", threads=torch.get_num_threads())
    >>> task = lambda denoiser: lambda rows: f"{denoiser}, rows {rows.start} to {rows.stop}"
    >>> worker.work_on(1, (task, ""), 2, 4, 7, None)
    [(4, 6, 'a Denoiser, rows 4 to 6'), (6, 7, 'a Denoiser, rows 6 to 7')]
    """

    def __init__(self, source: Callable[[], Any], threads: int):
        torch.set_num_threads(threads)
        self.denoisers = source()
        # The pass under way: what its task has prepared, and the batch that has fitted so far.
        self.passes, self.batch = 0, BatchSize(0)
        self.task = ""
        self.denoiser: Any = None
        self.function: Any = None
        # By task: the largest batch, where one has run out of memory.
        self.fitting: dict[str, int] = {}

    def process(self) -> int:
        return os.getpid()

    def work(self, number: int, held: list, size: int, first: int, stop: int, latents: Tensor | None) -> list:
        """`work_on` with the task in Ray's memory, which is read once in each pass."""
        if number != self.passes:
            return self.work_on(number, imported_ray().get(held[0]), size, first, stop, latents)
        return self.work_on(number, None, size, first, stop, latents)

    def work_on(self, number: int, task: Any, size: int, first: int, stop: int, latents: Tensor | None) -> list:
        """What the task of the pass `number` gives for the rows `first` ... `stop`: (start, stop, result) of each
        micro-batch, one of `size` rows unless these did not fit into memory."""
        if number != self.passes:
            made, name = task
            self.denoiser = named(self.denoisers, name)
            self.passes, self.task, self.function = number, name_of(made), made(self.denoiser)
            self.batch = BatchSize(min(size, self.fitting.get(self.task, size)))
        found = [(rows.start, rows.stop, on_cpu(result)) for rows, result in
                 work_here(self.denoiser, self.batch, stop, lambda denoiser: self.function, first, latents,
                           before=first)]
        if self.batch.value < size:
            self.fitting[self.task] = self.batch.value
        return found


def named(denoisers: Any, name: str) -> Any:
    """The Denoiser of that name, of one that has none or of several. Raises ValueError where there is none: another
    one would give another result without a word."""
    found = denoisers if isinstance(denoisers, Mapping) else {ONLY: denoisers}
    if name not in found:
        raise ValueError(f"There is no Denoiser called {name!r} among those of the source, which are called "
                         f"{', '.join(map(repr, found))}.")
    return found[name]


def name_of(task: Any) -> str:
    """The function that a task is, whatever is bound to it: how much memory it takes is its own."""
    function = getattr(task, "func", task)
    return f"{function.__module__}.{function.__qualname__}"
