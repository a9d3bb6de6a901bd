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
    """The flows of one level under way. What is left of a flow's way is unknown, infinite, at first."""

    points: Tensor  # (M, C, H, W)
    moved: Tensor  # (M,), by the iteration before
    left: Tensor  # (M,)
    error: Tensor  # (M,) standard error of each flow's last mean
    iteration: int = 0

    @classmethod
    def of(cls, points: Tensor) -> Flows:
        unknown = torch.full((len(points),), math.inf, dtype=torch.float64)
        return cls(points, unknown.clone(), unknown.clone(), torch.zeros_like(unknown))

    @property
    def radius(self) -> float:
        """Flows as near as this cannot be told apart: the error of the mean that they move to."""
        return self.error.square().mean().sqrt().item()

    @property
    def moving(self) -> Tensor:
        """The flows (indices) that are farther from where they end than half of that."""
        return torch.nonzero(self.left > self.radius / 2).flatten()

    def move(self, moving: Tensor, means: Tensor, errors: Tensor) -> None:
        """Take the flows `moving` to the means of their predictions.

        A flow whose moves shrink by a factor r has a way of move * r / (1 - r) left.
        """
        moves = in_double(means - self.points[moving]).flatten(1).norm(dim=1)
        before = self.moved[moving]
        ratio = torch.where(before.isfinite(), moves / before.clamp_min(1e-30), math.inf)
        self.left[moving] = torch.where(moves == 0, 0.0, torch.where(
            ratio < 1, moves * ratio / (1 - ratio).clamp_min(1e-12), math.inf))
        self.points[moving], self.moved[moving], self.error[moving] = means, moves, errors
        self.iteration += 1


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

    def close_level(self, step: int, sigma: float) -> None:
        """Join flows that have met, and begin the next level with one flow for each mode."""
        joined = components(self.flows.points, self.flows.radius)[self.labels]  # (N,)
        order = by_size(joined)
        labels = order[joined]
        points = torch.zeros(len(order), *self.flows.points.shape[1:], dtype=torch.float64)
        counted = torch.bincount(labels).to(points)
        points.index_add_(0, labels, in_double(self.flows.points[self.labels]))
        points = (points / counted.view(-1, *[1] * (points.ndim - 1))).to(self.flows.points)
        self.levels.append(TreeLevel(step, sigma, labels, points, self.flows.iteration, self.flows.radius,
                                     not len(self.flows.moving)))
        self.labels, self.flows = labels.clone(), Flows.of(points.clone())

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
        points, *numbers = (tensors[f"flows.{name}"] for name in FLOWS)
        flows = Flows(points, *(torch.where(value == UNKNOWN, math.inf, value) for value in numbers),
                      iteration=meta["iteration"])
        levels = [TreeLevel(**values, labels=tensors[f"{number}.labels"], points=tensors[f"{number}.points"])
                  for number, values in enumerate(meta["levels"])]
        return cls(tensors["labels"], flows, levels, meta["seconds"], meta["pace"])


FLOWS, UNKNOWN = ("points", "moved", "left", "error"), -1.0  # distances are never negative


def components(points: Tensor, radius: float) -> Tensor:
    """The number (M,) of the group of points (M, ...) that each is in; points at most `radius` apart are in one."""
    flat = in_double(points).flatten(1)
    # By matrix products a point would have a distance to itself.
    near = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist") <= radius  # (M, M)
    groups, before = torch.arange(len(points)), None
    while before is None or not torch.equal(groups, before):
        # Each point takes the least number of those near it, so that it goes along a chain of them.
        before, groups = groups, torch.where(near, groups, len(points)).min(dim=1).values
    return groups.unique(return_inverse=True)[1]


def by_size(labels: Tensor) -> Tensor:
    """The new number of each label: the largest group first, between equals that of the earlier sample."""
    sizes = torch.bincount(labels)
    first = torch.full_like(sizes, len(labels)).scatter_reduce(0, labels, torch.arange(len(labels)), "amin")
    order = sorted(range(len(sizes)), key=lambda label: (-sizes[label].item(), first[label].item()))
    numbers = torch.empty_like(sizes)
    numbers[torch.tensor(order)] = torch.arange(len(order))
    return numbers
