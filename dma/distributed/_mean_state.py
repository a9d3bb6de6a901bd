"""Everything that a mean under way needs to go on."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..statistics import MomentTree, PairedMoments, RunningMoments

KINDS: dict[str, type] = {kind.__name__: kind for kind in (RunningMoments, PairedMoments)}


@dataclass
class MeanState:
    """A loop of `map_moments` between two events: `trees` are those that it is given.

    >>> state = MeanState({"features": MomentTree(start=16)})
    >>> MeanState.unpacked(*state.packed()).trees["features"].start
    16
    """

    trees: dict[str, MomentTree[Any]] = field(default_factory=dict)
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        tensors, trees = {}, {}
        for name, tree in self.trees.items():
            packed, numbers = tree.packed()
            tensors |= {f"{name}/{key}": value for key, value in packed.items()}
            trees[name] = {"kind": tree.kind.__name__, **numbers}
        return tensors, {"trees": trees, "seconds": self.seconds, "pace": self.pace}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> MeanState:
        """The state that `packed` was asked for."""
        trees = {name: MomentTree.unpacked(KINDS[numbers["kind"]],
                                           {key.removeprefix(f"{name}/"): value for key, value in tensors.items()
                                            if key.startswith(f"{name}/")}, numbers)
                 for name, numbers in meta["trees"].items()}
        return cls(trees, meta["seconds"], meta["pace"])
