"""Everything that a family tree under way needs to go on."""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..named_tensors import below, under
from ..precision import in_double
from ._tree_meeting import led
from ._tree_move import Move


@dataclass(frozen=True)
class TreeLevel:
    """The modes at one noise level: M of them, the largest first.

    labels: the mode of each sample (N,). points: where the modes stand, clean latents (M, C, H, W). iterations: most
    that a sample took. error: of the mean that points are known to, a distance between latents. still: whether every
    sample came to stand still within the iterations.
    """

    step: int
    sigma: float
    labels: Tensor
    points: Tensor
    iterations: int
    error: float
    still: bool

    @property
    def sizes(self) -> list[int]:
        return torch.bincount(self.labels, minlength=len(self.points)).tolist()


@dataclass
class Flows:
    """The flows of one level under way, each moved by accelerated steps (see `move`)."""

    points: Tensor  # (M, C, H, W)
    before: Tensor  # (M, C, H, W) a move earlier, where the next move leads on from
    age: Tensor  # (M,) moves since the last that went back
    pace: Tensor  # (M,) distance of the last mean from where it was asked for; infinite, unknown, at first
    error: Tensor  # (M,) standard error of that mean
    iteration: int = 0
    apart: float = 0.0  # a distance that no two were nearer than after the last move, as far as is known

    @classmethod
    def of(cls, points: Tensor) -> Flows:
        none = torch.zeros(len(points), dtype=torch.float64)
        return cls(points, points.clone(), torch.zeros(len(points), dtype=torch.int64), none + math.inf, none)

    @property
    def radius(self) -> float:
        """Flows as near as this cannot be told apart: the error of the mean that they move to."""
        return self.error.square().mean().sqrt().item()

    def moving(self, iterations: int) -> Tensor:
        """The flows (indices) that at their pace would go more than half of the radius in so many iterations."""
        return torch.nonzero(self.pace * iterations > self.radius / 2).flatten()

    def asked(self, moving: Tensor) -> Tensor:
        """Where the means of the flows `moving` are taken: ahead, in the direction of their last move (Nesterov)."""
        ahead = (self.age[moving] / (self.age[moving] + 3.0)).float().view(-1, 1, 1, 1)
        return self.points[moving] + ahead * (self.points[moving] - self.before[moving])

    def move(self, moving: Tensor, asked: Tensor, means: Tensor, errors: Tensor) -> None:
        """Take the flows `moving` to the means of the predictions `asked` for.

        In directions in which a mode is wider than the noise plain steps shrink slowly, which momentum makes up for. A
        flow whose mean points back against its move begins anew without (O'Donoghue and Candes, Adaptive Restart for
        Accelerated Gradient Schemes, 2015).
        """
        for flow, ahead, mean in zip(moving.tolist(), asked, means):  # each alone, because fp64 copies are large
            short, move = in_double(ahead - mean), in_double(mean - self.points[flow])
            back = bool((short * move).sum() > 0)
            self.before[flow] = mean if back else self.points[flow]
            self.age[flow] = 0 if back else self.age[flow] + 1
            self.pace[flow] = short.norm()
        self.points[moving], self.error[moving] = means, errors
        self.iteration += 1

    def of_rows(self, rows: Tensor) -> Flows:
        return Flows(self.points[rows], self.before[rows], self.age[rows], self.pace[rows], self.error[rows],
                     self.iteration, self.apart)


@dataclass
class TreeState:
    """A family tree between two events.

    labels: the flow of each sample (N,) at the level under way; flows are in the order of `by_size`. move: the one
    under way, if there is one.
    """

    labels: Tensor
    flows: Flows
    levels: list[TreeLevel] = field(default_factory=list)
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""
    move: Move | None = None

    @classmethod
    def of(cls, clean: Tensor) -> TreeState:
        return cls(torch.arange(len(clean)), Flows.of(clean.clone()))

    def begin_move(self, moving: Tensor, count: int) -> Move:
        """The flows `moving` (indices) are to go to the mean of so many predictions each."""
        self.move = Move.of(moving, self.flows.asked(moving), count)
        return self.move

    def finish_move(self) -> None:
        """All predictions of the move are there: its flows go to their means, and those that have met are one."""
        move, self.move = self.move, None
        assert move is not None and move.done == move.predictions, "a move is finished once all its predictions are"
        self.flows.move(move.moving, move.asked, move.means, move.errors)
        self.join(move.moving)

    def join(self, moving: Tensor) -> None:
        """Flows that have met are one from here on: that of most samples, between equals of the earliest. `moving`
        (indices) have moved since the last time."""
        moved = torch.zeros(len(self.flows.points), dtype=torch.bool)
        moved[moving] = True
        leaders, apart = led(self.flows.points, self.flows.radius, moved=moved, apart=self.flows.apart)  # (M,)
        self.flows.apart = apart
        kept, numbers = leaders.unique(return_inverse=True)
        if len(kept) < len(leaders):
            labels = numbers[self.labels]
            order = by_size(labels)  # the new number of each flow
            self.labels, self.flows = order[labels], self.flows.of_rows(kept[order.argsort()])

    def close_level(self, step: int, sigma: float, *, still: bool) -> None:
        """The flows are the modes of this level, and begin the next one."""
        points = self.flows.points
        self.levels.append(TreeLevel(step, sigma, self.labels, points, self.flows.iteration, self.flows.radius, still))
        self.labels, self.flows = self.labels.clone(), Flows.of(points.clone())

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        tensors = {"labels": self.labels, **{f"flows.{name}": getattr(self.flows, name) for name in FLOWS}}
        # What is not known is infinite here, which no saved state may hold.
        tensors["flows.pace"] = torch.where(self.flows.pace.isinf(), UNKNOWN, self.flows.pace)
        for number, level in enumerate(self.levels):
            tensors |= {f"{number}.labels": level.labels, f"{number}.points": level.points}
        # Not by asdict, which would copy all points of all levels.
        levels = [{name: getattr(level, name) for name in OF_LEVEL} for level in self.levels]
        moved, move = self.move.packed() if self.move else ({}, None)
        return tensors | under(MOVE, moved), {"levels": levels, "iteration": self.flows.iteration,
                                              "seconds": self.seconds, "pace": self.pace, "move": move}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict[str, Any]) -> TreeState:
        """The state that `packed` was asked for."""
        values = {name: tensors[f"flows.{name}"] for name in FLOWS}
        values["pace"] = torch.where(values["pace"] == UNKNOWN, math.inf, values["pace"])
        levels = [TreeLevel(**level, labels=tensors[f"{number}.labels"], points=tensors[f"{number}.points"])
                  for number, level in enumerate(meta["levels"])]
        flows = Flows(**values, iteration=meta["iteration"], apart=0.0)  # of which nothing is known any more
        moved = below(MOVE, tensors)
        move = Move.unpacked(moved, meta["move"], flows.asked(moved["moving"])) if moved else None
        return cls(tensors["labels"], flows, levels, meta["seconds"], meta["pace"], move=move)


MOVE = "move."  # before the names of its tensors
FLOWS, UNKNOWN = ("points", "before", "age", "pace", "error"), -1  # distances are never negative
OF_LEVEL = ("step", "sigma", "iterations", "error", "still")  # what of a level is no tensor


def by_size(labels: Tensor) -> Tensor:
    """The new number of each label: the largest group first, between equals that of the earlier sample."""
    sizes = torch.bincount(labels)
    first = torch.full_like(sizes, len(labels)).scatter_reduce(0, labels, torch.arange(len(labels)), "amin")
    order = sorted(range(len(sizes)), key=lambda label: (-sizes[label].item(), first[label].item()))
    numbers = torch.empty_like(sizes)
    numbers[torch.tensor(order)] = torch.arange(len(order))
    return numbers
