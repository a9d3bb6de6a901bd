"""One move of a family tree's flows under way, which may be broken off after any micro-batch."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..precision import in_double


@dataclass
class Move:
    """The mean predictions of flows, of which each takes `count` predictions, one flow after the other.

    moving: which flows (A,). asked: where their means are taken (A, C, H, W). means (A, C, H, W) and errors (A,), the
    standard errors as distances: of the flows that are done, 0 of the others. total (C, H, W) and squares: of the flow
    under way, the sum of the predictions and of their squared norms, relative to the point. done: predictions so far.
    """

    moving: Tensor
    asked: Tensor
    count: int
    means: Tensor
    errors: Tensor
    total: Tensor
    squares: float = 0.0
    done: int = 0

    @classmethod
    def of(cls, moving: Tensor, asked: Tensor, count: int) -> Move:
        return cls(moving, asked, count, torch.zeros_like(asked), torch.zeros(len(asked), dtype=torch.float64),
                   torch.zeros(asked.shape[1:], dtype=torch.float64))

    @property
    def predictions(self) -> int:
        """How many it takes in all."""
        return len(self.asked) * self.count

    def add(self, predicted: Tensor) -> None:
        """Take the next predictions (B, C, H, W) in."""
        for row in in_double(predicted):
            flow, place = divmod(self.done, self.count)
            # Relative to the point, so that the difference of squares below loses nothing.
            apart = row - in_double(self.asked[flow])
            self.total = self.total + apart if place else apart
            self.squares = (self.squares if place else 0.0) + apart.square().sum().item()
            self.done += 1
            if place == self.count - 1:
                mean = self.total / self.count
                variance = max(0.0, self.squares / self.count - mean.square().sum().item()) * self.count / place
                self.means[flow] = (in_double(self.asked[flow]) + mean).float()
                self.errors[flow] = math.sqrt(variance / self.count)

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        finished = self.done // self.count
        return ({"moving": self.moving, "means": self.means[:finished], "errors": self.errors[:finished],
                 "total": self.total}, {"count": self.count, "squares": self.squares, "done": self.done})

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict[str, Any], asked: Tensor) -> Move:
        """The move that `packed` was asked for, of the points that it asks for."""
        move = cls.of(tensors["moving"], asked, meta["count"])
        finished = len(tensors["means"])
        move.means[:finished], move.errors[:finished] = tensors["means"], tensors["errors"]
        move.total, move.squares, move.done = tensors["total"], meta["squares"], meta["done"]
        return move
