"""Everything that a mean under way needs to go on."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..statistics import MomentTree, pack_trees, unpack_trees


@dataclass
class MeanState:
    """A loop of `map_moments` between two events: `trees` are those that it is given.

    >>> state = MeanState({"features": MomentTree(start=16)})
    >>> MeanState.unpacked(*state.packed()).trees["features"].start, state.where
    (16, 'row 16')
    """

    trees: dict[str, MomentTree[Any]] = field(default_factory=dict)
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    @property
    def where(self) -> str:
        """How far the mean has come, in words."""
        return f"row {max((tree.stop for tree in self.trees.values()), default=0)}"

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        tensors, trees = pack_trees(self.trees)
        return tensors, {"trees": trees, "seconds": self.seconds, "pace": self.pace}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> MeanState:
        """The state that `packed` was asked for."""
        return cls(unpack_trees(tensors, meta["trees"]), meta["seconds"], meta["pace"])
