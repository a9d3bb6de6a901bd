"""Everything that a congealing under way needs to go on."""
from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ._warps import IDENTITY, centred

WARPS = ("similarities", "flows", "moved_similarities", "moved_flows")


@dataclass
class CongealingState:
    """A congealing of N pictures between two events.

    rounds: those that are behind it. done: pictures that the present round has moved. similarities (N, 4), flows (N, 2,
    G, G): the warps that the present round has begun with; moved_similarities, moved_flows: the same with those of the
    pictures that it has moved. All are empty until the first round.
    """

    rounds: int = 0
    done: int = 0
    similarities: Tensor = field(default_factory=lambda: torch.empty(0))
    flows: Tensor = field(default_factory=lambda: torch.empty(0))
    moved_similarities: Tensor = field(default_factory=lambda: torch.empty(0))
    moved_flows: Tensor = field(default_factory=lambda: torch.empty(0))
    part: str = ""

    def open(self, count: int, grid: int) -> None:
        """Nothing is moved yet, unless something is already."""
        if not len(self.similarities):
            self.similarities = torch.tensor(IDENTITY).expand(count, -1).clone()
            self.flows = torch.zeros(count, 2, grid, grid)
            self.open_round()

    def open_round(self) -> None:
        self.moved_similarities, self.moved_flows, self.done = self.similarities.clone(), self.flows.clone(), 0

    def take(self, rows: slice, similarities: Tensor, flows: Tensor) -> None:
        """The pictures of `rows` have been moved."""
        self.moved_similarities[rows], self.moved_flows[rows] = similarities, flows
        self.done = rows.stop

    def close_round(self) -> None:
        # All pictures could move together and agree as well: grow, until one colour is all that is seen.
        self.similarities = centred(self.moved_similarities)
        self.flows = self.moved_flows - self.moved_flows.mean(0)
        self.rounds += 1
        self.open_round()

    @property
    def where(self) -> str:
        """How far the run has come, in words."""
        return f"round {self.rounds}"

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        return {name: getattr(self, name) for name in WARPS}, {"rounds": self.rounds, "done": self.done}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> CongealingState:
        """The state that `packed` was asked for."""
        similarities, flows, moved_similarities, moved_flows = (tensors[name] for name in WARPS)
        return cls(meta["rounds"], meta["done"], similarities, flows, moved_similarities, moved_flows)
