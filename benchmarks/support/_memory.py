"""The most memory that was in use while something ran."""
from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

import torch

PERIOD = 0.005  # seconds between two looks


def memory_in_use() -> int:
    """Bytes of the GPU that are in use by its driver, or without a GPU those of this process.

    With dynamic VRAM weights do not come from torch's allocator, which therefore knows nothing of them.
    """
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return total - free
    import psutil

    return psutil.Process().memory_info().rss


class PeakMemory:
    """The most memory, in GiB, that `in_use` tells of while the block runs: `with PeakMemory() as peak: ...; peak.gib`.

    Looks every few milliseconds: what comes and goes between two looks is missed. What torch keeps for later counts,
    since a card has to have it; what it keeps from before the block is given back first.
    """

    def __init__(self, in_use: Callable[[], int] = memory_in_use) -> None:
        self.in_use, self.most = in_use, 0
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)

    @property
    def gib(self) -> float:
        return self.most / 2**30

    def _watch(self) -> None:
        while not self.over.wait(PERIOD):
            self.most = max(self.most, self.in_use())

    def __enter__(self) -> PeakMemory:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.most = self.in_use()
        self.watcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.most = max(self.most, self.in_use())
        self.over.set()
        self.watcher.join()
