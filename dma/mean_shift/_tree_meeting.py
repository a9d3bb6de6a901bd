"""Which flows of a family tree have met: leaders and those that follow them."""
from __future__ import annotations

import math

import torch
from torch import Tensor

from ..precision import in_double

ROWS, COLUMNS = 256, 1024  # of latents that are compared at once, and of their numbers
ROUNDING = 1e-10  # of a squared distance by matrix products, beside the squares of both: far more than it can be


def led(points: Tensor, radius: float, *, moved: Tensor | None = None, apart: float = 0.0) -> tuple[Tensor, float]:
    """For each point (M, ...) the number (M,) of its leader: the first of those before it that is its own leader and no
    farther than `radius`, or else itself; and a distance that no two leaders are nearer than.

    moved: which points (M,) have moved, of points that were no nearer to each other than `apart`; all, if left out.
    Pairs that were far enough apart, and have not moved, are not compared again.

    Leaders, and not chains of neighbours, because modes may be joined by a row of flows that are on their way. Matrix
    products find the pairs that may be near, and only those are measured.

    >>> led(torch.tensor([[0.0], [0.9], [1.8], [5.0]]), 1.0)[0].tolist()
    [0, 0, 2, 3]
    """
    flat, numbers = points.flatten(1), torch.arange(len(points))
    origin = flat.mean(0)  # near to all, so that less cancels in products
    if moved is None or radius >= apart:
        moved, apart = torch.ones(len(points), dtype=torch.bool), math.inf
    leaders = numbers.clone()
    for rows in numbers.split(ROWS):
        first = int(rows[0])
        before = torch.cat([numbers[:first][leaders[:first] == numbers[:first]], rows])  # (E,)
        near, least = may_be_near(flat, origin, rows, before, radius, moved)  # (B, E)
        apart = min(apart, least)
        for row, candidates in zip(rows.tolist(), near):
            for candidate in before[candidates].tolist():
                if leaders[candidate] != candidate:
                    continue
                distance = (in_double(flat[row]) - in_double(flat[candidate])).norm().item()
                if distance <= radius:
                    leaders[row] = candidate
                    break
                apart = min(apart, distance)
    return leaders, apart


def may_be_near(flat: Tensor, origin: Tensor, rows: Tensor, before: Tensor, radius: float,
                moved: Tensor) -> tuple[Tensor, float]:
    """Which of the points `before` (E,) each point of `rows` (B,) comes after and may be no farther from than `radius`,
    (B, E); and a distance that the others are farther than. Only pairs of which one has moved are looked at."""
    near, least = torch.zeros(len(rows), len(before), dtype=torch.bool), math.inf
    for own, others in ((moved[rows], torch.ones_like(before, dtype=torch.bool)), (~moved[rows], moved[before])):
        if not (own.any() and others.any()):
            continue
        squares, margin = squared_distances(flat, origin, rows[own], before[others])
        earlier = before[others] < rows[own][:, None]
        found = earlier & (squares - margin <= radius**2)
        near[own.nonzero(), others.nonzero().flatten()] = found
        if (far := (squares - margin)[earlier & ~found]).numel():
            least = min(least, math.sqrt(far.min().item()))
    return near, least


def squared_distances(flat: Tensor, origin: Tensor, rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances (B, E) of points by matrix products, some of their numbers at a time, and how far from the
    truth they may be (B, E)."""
    products = torch.zeros(len(rows), len(others), dtype=torch.float64)
    squares = [torch.zeros(len(chosen), dtype=torch.float64) for chosen in (rows, others)]
    for columns, middle in zip(flat.split(COLUMNS, dim=1), origin.split(COLUMNS)):
        # In fp64: how exact products in fp32 are is for any other program in this process to set.
        parts = [in_double(columns[chosen]) - in_double(middle) for chosen in (rows, others)]
        products += parts[0] @ parts[1].T
        for total, part in zip(squares, parts):
            total += part.square().sum(1)
    both = squares[0][:, None] + squares[1]
    return both - 2 * products, ROUNDING * both
