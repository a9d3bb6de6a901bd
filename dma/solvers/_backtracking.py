"""Back from steps that have ended in NaN or infinity."""
from __future__ import annotations

import torch
from torch import Tensor


class Backtracking:
    """Where each row of an iteration was when it last came to numbers, and how much of a step it may take from there.

    A step to where a function is not finite is no step: the row goes back, and takes half as much of every step from
    then on. `point` (b, ...) is where rows begin, and `direction` (b, ...) what the function says there of the way on,
    a gradient or a change.

    >>> rows = Backtracking(torch.zeros(2, 1), torch.zeros(2, 1))
    >>> point, direction = rows.accepted(torch.ones(2, 1), torch.tensor([[2.0], [torch.nan]]))
    >>> point.flatten().tolist(), direction.flatten().tolist()
    ([1.0, 0.0], [2.0, 0.0])
    >>> rows.towards(torch.full((2, 1), 4.0)).flatten().tolist()
    [4.0, 2.0]
    """

    def __init__(self, point: Tensor, direction: Tensor):
        self.point, self.direction = point, direction
        self.share = torch.ones(len(point), dtype=point.dtype, device=point.device)  # (b,)

    def keep(self, going: Tensor) -> None:
        """Only the rows in `going` (b,) bool stay."""
        self.point, self.direction, self.share = self.point[going], self.direction[going], self.share[going]

    def accepted(self, point: Tensor, direction: Tensor, value: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The rows (b, ...) and their directions: those given where they and the function's `value` (b,) are finite,
        and elsewhere the last that were."""
        finite = torch.isfinite(point).flatten(1).all(1) & torch.isfinite(direction).flatten(1).all(1)  # (b,)
        if value is not None:
            finite = finite & torch.isfinite(value)
        self.share = torch.where(finite, self.share, self.share / 2)
        shaped = _like(finite, point)
        self.point = torch.where(shaped, point, self.point)
        self.direction = torch.where(shaped, direction, self.direction)
        return self.point, self.direction

    def towards(self, target: Tensor) -> Tensor:
        """As much of the way to `target` (b, ...) as each row may take."""
        share = _like(self.share, target)
        return torch.where(share < 1, self.point + share * (target - self.point), target)


def _like(rows: Tensor, values: Tensor) -> Tensor:
    """A value for each row (b,), to be used with values (b, ...)."""
    return rows.view(-1, *[1] * (values.ndim - 1))
