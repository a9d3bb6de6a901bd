"""What a pass sends, receives and takes, block by block, where one process does all of it."""
from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Counted:
    """Of one pass: bytes that every worker is sent once, bytes of each block to a worker and back, its seconds there,
    and the seconds until whoever takes the results asks for the next one."""

    held: int
    sent: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)


class CountingDenoiser:
    """A `dma.diffusion.SpreadDenoiser` that works here, as one worker would, and keeps what each pass costs."""

    def __init__(self, denoiser: Any):
        self.denoiser, self.passes = denoiser, []
        self.device, self.parametrization = denoiser.device, denoiser.parametrization

    def over(self, batch: Any, total: int, task: Any, first: int = 0,
             latents: Tensor | None = None) -> Iterator[tuple[slice, Any]]:
        from mental_averages.dma.diffusion import work_here

        found = Counted(len(pickle.dumps(task)))
        self.passes.append(found)
        blocks = work_here(self.denoiser, batch, total, task, first, latents)
        while True:
            began = time.perf_counter()
            block = next(blocks, None)
            if block is None:
                return
            found.seconds.append(time.perf_counter() - began)
            rows, result = block
            own = None if latents is None else latents[rows].clone()
            found.sent.append(len(pickle.dumps(own)))
            found.received.append(len(pickle.dumps(result)))
            given = time.perf_counter()
            yield block
            found.taken.append(time.perf_counter() - given)

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        return self.denoiser.denoise(x, sigma)

    def features(self, x: Tensor, sigma: float) -> Tensor:
        return self.denoiser.features(x, sigma)
