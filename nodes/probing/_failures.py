"""How often cells have failed, so that the next time a graph is queued they are tried again.

ComfyUI keeps what a node gave, and a cell that failed gives a cell, too: with the number of its failures in its
fingerprint it is another node the next time, while all others are taken from the cache.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

_failed: Counter[Hashable] = Counter()


def failures(cell: Hashable | None = None) -> int:
    """How often a cell has failed since ComfyUI started, or all of them together."""
    return _failed.total() if cell is None else _failed[cell]


def count_failure(cell: Hashable) -> None:
    _failed[cell] += 1
