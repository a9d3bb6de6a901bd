"""Moments whose sums are always taken in the same order, whoever has taken which part of them."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from ..named_tensors import below, under
from ._moments import LOOK_AFTER, RunningMoments

BLOCK = LOOK_AFTER  # rows


class Moments(Protocol):
    """Moments that take rows in their order and merge with those of later rows."""

    def update(self, rows: Tensor) -> None: ...

    def merge(self, other: Any) -> None: ...

    def packed(self) -> tuple[dict[str, Tensor], Any]: ...


M = TypeVar("M", bound=Moments)


@dataclass
class MomentTree(Generic[M]):
    """Moments of the rows `start` ... `stop` of a long sequence, in a form whose merge is exact and associative.

    Chan's merge rounds, so that moments depend a little on where a sequence was cut. Here it is not cut anywhere else:
    rows are counted in blocks of `BLOCK`, from the sequence's first, and blocks are merged in a binary tree, node
    (level, i) of the nodes (level - 1, 2 i) and (level - 1, 2 i + 1). A part of the sequence keeps the nodes whose
    blocks it has all, log2 of their number at most; parts that are merged give the nodes that one alone would have, to
    the last bit, whatever parts there are and however they are merged. Parts begin at multiples of `BLOCK` rows, and
    only the last may end elsewhere.

    kind: what is kept of each node, `RunningMoments` or `PairedMoments`.

    >>> rows = torch.randn(70, 3)
    >>> one, first, second = MomentTree(), MomentTree(), MomentTree(start=32)
    >>> one.update(rows); first.update(rows[:32]); second.update(rows[32:])
    >>> first.merge(second)
    >>> bool((one.moments().mean == first.moments().mean).all()), first.stop
    (True, 70)
    """

    kind: type[M] = RunningMoments  # type: ignore[assignment]
    start: int = 0
    stop: int = -1  # start, without rows
    nodes: list[tuple[int, int, M]] = field(default_factory=list)  # (level, i, moments) in the order of their rows
    waiting: Tensor = field(default_factory=lambda: torch.zeros(0))  # rows of a block that is not whole

    def __post_init__(self) -> None:
        if self.start < 0 or self.start % BLOCK:
            raise ValueError(f"A part of a sequence begins at a multiple of {BLOCK} rows, but this at {self.start}.")
        self.stop = max(self.stop, self.start)

    def update(self, rows: Tensor) -> None:
        """Add rows (B, ...) from `stop` on, any number of them."""
        rows = rows.detach().cpu()
        held = torch.cat([self.waiting, rows]) if len(self.waiting) else rows
        first = self.stop // BLOCK
        self.stop += len(rows)
        for block in range(len(held) // BLOCK):
            self._add(0, first + block, self._of(held[block * BLOCK : (block + 1) * BLOCK]))
        # Cloned, because a slice would keep all the others in memory.
        self.waiting = held[len(held) // BLOCK * BLOCK :].clone()

    def merge(self, other: MomentTree[M]) -> None:
        """Add the rows that another has seen, the first of which follows on the last of these.

        Raises ValueError where it does not, and after a block that is not whole.
        """
        if other.start != self.stop or len(self.waiting):
            raise ValueError(f"Rows {self.start} to {self.stop} are followed by those from {other.start} on: parts "
                             f"join at multiples of {BLOCK} rows, without gaps and overlaps.")
        for level, index, moments in other.nodes:
            self._add(level, index, moments)
        self.stop, self.waiting = other.stop, other.waiting

    def moments(self) -> M:
        """Moments of all rows: the nodes and the block that is not whole are merged from the last to the first, as in
        a tree that is filled up with nothing."""
        nodes = [moments for _, _, moments in self.nodes] + ([self._of(self.waiting)] if len(self.waiting) else [])
        if not nodes:
            return self.kind()
        *before, total = nodes
        for moments in reversed(before):
            total = self._both(moments, total)
        return total

    def _of(self, rows: Tensor) -> M:
        moments = self.kind()
        moments.update(rows)
        return moments

    def _both(self, moments: M, later: M) -> M:
        total = self.kind()
        total.merge(moments)
        total.merge(later)
        return total

    def _add(self, level: int, index: int, moments: M) -> None:
        while self.nodes and index % 2 and self.nodes[-1][:2] == (level, index - 1):
            moments = self._both(self.nodes.pop()[2], moments)
            level, index = level + 1, index // 2
        self.nodes.append((level, index, moments))

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and numbers to be saved."""
        tensors, nodes = ({"waiting": self.waiting} if len(self.waiting) else {}), []
        for level, index, moments in self.nodes:
            packed, numbers = moments.packed()
            tensors |= under(f"{level}.{index}.", packed)
            nodes.append([level, index, numbers])
        return tensors, {"start": self.start, "stop": self.stop, "nodes": nodes}

    @classmethod
    def unpacked(cls, kind: Any, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> MomentTree[Any]:
        """The tree that `packed` was asked for."""
        def node(level: int, index: int, found: Any) -> tuple[int, int, Any]:
            return level, index, kind.unpacked(below(f"{level}.{index}.", tensors), found)

        return cls(kind, numbers["start"], numbers["stop"], [node(*each) for each in numbers["nodes"]],
                   tensors.get("waiting", torch.zeros(0)))
