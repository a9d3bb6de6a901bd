"""Rows of mixing weights: one row per output, one number per input, each row a convex combination."""
from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from ..precision import in_double
from ..statistics import effective_count_of_sums

# Weights typed with three decimals, as 0.333 0.333 0.333, count as summing to one.
SUM_TOLERANCE = 2e-3


def equal_weights(count: int) -> Tensor:
    """The weights (1, count) of a centroid."""
    return torch.full((1, count), 1 / count, dtype=torch.float64)


def normalised_weights(weights: Tensor, count: int) -> Tensor:
    """Weights (M, N) for `count` inputs in fp64, every row divided by its sum; logs a warning for sums that were not
    one.

    Raises ValueError, naming the row, for weights of the wrong length, negative or NaN ones, and rows of zeros.

    >>> normalised_weights(torch.tensor([[1.0, 3.0]]) / 4, 2)
    tensor([[0.2500, 0.7500]], dtype=torch.float64)
    """
    weights = in_double(weights)
    if weights.ndim != 2 or len(weights) == 0:
        raise ValueError(f"Weights are a table of one or more rows, but these have the shape {tuple(weights.shape)}.")
    if weights.shape[1] != count:
        raise ValueError(f"There are {weights.shape[1]} weights per row but {count} latents: give one number for each "
                         "latent.")
    sums = weights.sum(dim=1)  # (M,)
    for number, (row, total) in enumerate(zip(weights, sums.tolist()), start=1):
        if not torch.isfinite(row).all():
            raise ValueError(f"Row {number} of the weights contains NaN or infinity: use finite numbers.")
        if (row < 0).any():
            raise ValueError(f"Row {number} of the weights contains the negative weight {row.min():g}: use weights of "
                             "0 or more.")
        if total == 0:
            raise ValueError(f"Row {number} of the weights is all zero: give at least one latent a weight above 0.")
        if abs(total - 1) > SUM_TOLERANCE:
            logging.warning("Row %d of the weights sums to %g instead of 1: it was divided by its sum.", number, total)
    return weights / sums[:, None]


def path_weights(count: int, steps: int, *, closed: bool = False) -> Tensor:
    """Rows of a morph through `count` inputs in their order, `steps` rows from each input to the next.

    The last input ends the path; a closed path goes on from it towards the first, whose row is not repeated, so that
    the pictures loop. Shape ((count - 1) steps + 1, count), or (count steps, count) for a closed path.

    >>> path_weights(3, 2)
    tensor([[1.0000, 0.0000, 0.0000],
            [0.5000, 0.5000, 0.0000],
            [0.0000, 1.0000, 0.0000],
            [0.0000, 0.5000, 0.5000],
            [0.0000, 0.0000, 1.0000]], dtype=torch.float64)
    """
    if count < 2 or steps < 1:
        raise ValueError(f"A path needs 2 or more inputs and 1 or more steps, but there are {count} and {steps}.")
    legs = count if closed else count - 1
    corners = torch.eye(count, dtype=torch.float64)  # (N, N)
    rows = [corners[leg] + (step / steps) * (corners[(leg + 1) % count] - corners[leg])
            for leg in range(legs) for step in range(steps)]
    return torch.stack(rows if closed else [*rows, corners[-1]])


def grid_weights(count: int, size: int) -> Tensor:
    """Rows of an even grid over three inputs (a triangle) or four (a square), `size` along each edge.

    Three inputs: all multiples of 1 / (size - 1) that sum to one, size (size + 1) / 2 rows, from the first input on.
    Four inputs: bilinear weights, size^2 rows, line by line, with the inputs at top left, top right, bottom left and
    bottom right.

    >>> grid_weights(3, 2)
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]], dtype=torch.float64)
    """
    if count not in (3, 4) or size < 2:
        raise ValueError(f"A grid needs 3 or 4 inputs and a size of 2 or more, but these are {count} and {size}.")
    last = size - 1
    if count == 3:
        return torch.tensor([[last - below, below - right, right] for below in range(size)
                             for right in range(below + 1)],
                            dtype=torch.float64) / last
    along = torch.linspace(0, 1, size, dtype=torch.float64)
    down, across = (values.flatten() for values in torch.meshgrid(along, along, indexing="ij"))  # (size^2,)
    return torch.stack([(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across], dim=1)


def random_weights(count: int, rows: int, *, seed: int) -> Tensor:
    """Convex combinations (rows, count) drawn evenly from all there are: exponential draws, divided by their sum."""
    if count < 1 or rows < 1:
        raise ValueError(f"Random weights need 1 or more inputs and 1 or more rows, but there are {count} and {rows}.")
    draws = torch.empty(rows, count, dtype=torch.float64).exponential_(generator=torch.Generator().manual_seed(seed))
    return draws / draws.sum(dim=1, keepdim=True)


def first_weights(count: int, numbers: Sequence[int]) -> Tensor:
    """For each number N a row that weights the first N of `count` inputs alike and leaves out the rest.

    Their centroids show what happens to an average as it takes in more and more. Shape (len(numbers), count). Raises
    ValueError without numbers, and for one below 1 or above `count`.

    >>> first_weights(4, [1, 2, 4])
    tensor([[1.0000, 0.0000, 0.0000, 0.0000],
            [0.5000, 0.5000, 0.0000, 0.0000],
            [0.2500, 0.2500, 0.2500, 0.2500]], dtype=torch.float64)
    """
    if not numbers:
        raise ValueError("There are no numbers of inputs to average: write for example 2, 8, 32.")
    for number in numbers:
        if not 1 <= number <= count:
            raise ValueError(f"The first {number} of {count} inputs cannot be averaged: use numbers from 1 to {count}, "
                             "or more inputs.")
    sizes = torch.tensor(numbers, dtype=torch.float64)[:, None]  # (M, 1)
    return (torch.arange(count) < sizes) / sizes


def effective_inputs(weights: Tensor) -> Tensor:
    """The effective number 1 / sum w^2 of inputs in each row (M, N), rows that sum to one: N for equal weights, 1 when
    a single input has all the weight.

    >>> effective_inputs(torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]))
    tensor([2., 1.])
    """
    squares = weights.square().sum(dim=1)
    return effective_count_of_sums(torch.ones_like(squares), squares)
