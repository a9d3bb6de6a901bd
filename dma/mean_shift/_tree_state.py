"""Everything that a family tree under way needs to go on."""
from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..precision import in_double


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
        moves = in_double(means - self.points[moving]).flatten(1)
        back = (in_double(asked - means).flatten(1) * moves).sum(1) > 0
        self.before[moving] = torch.where(back.view(-1, 1, 1, 1), means, self.points[moving])
        self.age[moving] = torch.where(back, 0, self.age[moving] + 1)
        self.pace[moving] = in_double(means - asked).flatten(1).norm(dim=1)
        self.points[moving], self.error[moving] = means, errors
        self.iteration += 1

    def of_rows(self, rows: Tensor) -> Flows:
        return Flows(self.points[rows], self.before[rows], self.age[rows], self.pace[rows], self.error[rows],
                     self.iteration)


@dataclass
class TreeState:
    """A family tree between two events. labels: the flow of each sample (N,) at the level under way."""

    labels: Tensor
    flows: Flows
    levels: list[TreeLevel] = field(default_factory=list)
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    @classmethod
    def of(cls, clean: Tensor) -> TreeState:
        return cls(torch.arange(len(clean)), Flows.of(clean.clone()))

    def join(self) -> None:
        """Flows that have met are one from here on: that of most samples, between equals of the earliest."""
        order = by_size(self.labels)  # the new number of each flow
        self.labels, rows = order[self.labels], order.argsort()
        leaders = led(self.flows.points[rows], self.flows.radius)  # (M,)
        kept, numbers = leaders.unique(return_inverse=True)
        labels, flows = numbers[self.labels], self.flows.of_rows(rows[kept])
        order = by_size(labels)
        self.labels, self.flows = order[labels], flows.of_rows(order.argsort())

    def close_level(self, step: int, sigma: float, *, still: bool) -> None:
        """The flows are the modes of this level, and begin the next one."""
        points = self.flows.points
        self.levels.append(TreeLevel(step, sigma, self.labels, points, self.flows.iteration, self.flows.radius, still))
        self.labels, self.flows = self.labels.clone(), Flows.of(points.clone())

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        # What is not known is infinite here, which no saved state may hold.
        tensors = {"labels": self.labels, **{f"flows.{name}": torch.where(value.isinf(), UNKNOWN, value)
                                             for name in FLOWS for value in [getattr(self.flows, name)]}}
        for number, level in enumerate(self.levels):
            tensors |= {f"{number}.labels": level.labels, f"{number}.points": level.points}
        levels = [{name: value for name, value in asdict(level).items() if name not in ("labels", "points")}
                  for level in self.levels]
        return tensors, {"levels": levels, "iteration": self.flows.iteration, "seconds": self.seconds,
                         "pace": self.pace}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict[str, Any]) -> TreeState:
        """The state that `packed` was asked for."""
        values = {name: tensors[f"flows.{name}"] for name in FLOWS}
        values["pace"] = torch.where(values["pace"] == UNKNOWN, math.inf, values["pace"])
        levels = [TreeLevel(**level, labels=tensors[f"{number}.labels"], points=tensors[f"{number}.points"])
                  for number, level in enumerate(meta["levels"])]
        return cls(tensors["labels"], Flows(**values, iteration=meta["iteration"]), levels, meta["seconds"],
                   meta["pace"])


FLOWS, UNKNOWN = ("points", "before", "age", "pace", "error"), -1  # distances are never negative


def led(points: Tensor, radius: float) -> Tensor:
    """For each point (M, ...) the number (M,) of its leader: the first of those before it that is its own leader and no
    farther than `radius`, or else itself.

    Leaders, and not chains of neighbours, because modes may be joined by a row of flows that are on their way.
    """
    flat = in_double(points).flatten(1)
    # By matrix products a point would have a distance to itself.
    near = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist") <= radius  # (M, M)
    leaders = torch.arange(len(points))
    for point in range(len(points)):
        found = torch.nonzero(near[point, :point] & (leaders[:point] == torch.arange(point))).flatten()
        if len(found):
            leaders[point] = found[0]
    return leaders


def by_size(labels: Tensor) -> Tensor:
    """The new number of each label: the largest group first, between equals that of the earlier sample."""
    sizes = torch.bincount(labels)
    first = torch.full_like(sizes, len(labels)).scatter_reduce(0, labels, torch.arange(len(labels)), "amin")
    order = sorted(range(len(sizes)), key=lambda label: (-sizes[label].item(), first[label].item()))
    numbers = torch.empty_like(sizes)
    numbers[torch.tensor(order)] = torch.arange(len(order))
    return numbers
