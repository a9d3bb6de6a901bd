"""Norm-guided paths and centroids by optimisation: the reference that the closed forms are held against.

Samuel et al., "Norm-guided latent space exploration for text-to-image generation" (NAO, arXiv 2306.08687). The norm r
of white noise with L values follows the chi distribution,

    log chi(r) = (L - 1) log r - r^2 / 2 - (L / 2 - 1) log 2 - log Gamma(L / 2),

and a path x_1 ... x_n costs its length, weighted by how unlikely the norms along it are, plus a penalty on segments
longer than twice their first spacing, epsilon:

    cost = - sum |x_i - x_i+1| log chi(|x_i + x_i+1| / 2) + lambda sum max(0, |x_i - x_i+1| - epsilon).

Only norms enter, so a bias of the channels is not seen and is amplified as by any normalised centroid. Each of up to
10000 iterations of Adam handles N n L values with their gradient and two moments: 50 points for each of 5 latents of
16384 values are 4 million, 66 MB in fp32. A closed form reads its inputs once. For a few inputs only, as a reference.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion import check_latents
from ._interpolate import interpolate

LENGTH_PENALTY = 1.0


@dataclass(frozen=True)
class PathOptimizer:
    """Adam as in the paper's code; a run ends after `patience` changes of the cost in a row below `tolerance`."""

    learning_rate: float = 0.01
    iterations: int = 10000
    tolerance: float = 1e-3
    patience: int = 10


CENTROID_OPTIMIZER = PathOptimizer(tolerance=1e-2, patience=5)


@dataclass(frozen=True)
class NormGuided:
    """An optimised path or centroid with the cost that is left and the iterations it took."""

    latents: Tensor  # path: (points, C, H, W), ends included; centroid: (1, C, H, W)
    cost: float
    iterations: int


def log_chi(norm: Tensor, dimension: int) -> Tensor:
    """Log density of the norm of white noise with `dimension` values.

    >>> round(log_chi(torch.tensor(1.0), 1).exp().item(), 4)  # the half-normal density sqrt(2 / pi) exp(-1 / 2)
    0.4839
    """
    constant = (dimension / 2 - 1) * math.log(2) + math.lgamma(dimension / 2)
    return (dimension - 1) * norm.log() - norm.square() / 2 - constant


def path_cost(points: Tensor, longest: Tensor) -> Tensor:
    """Cost (N,) of paths (N, points, L), whose segments are free up to the lengths `longest` (N,)."""
    lengths = _norms(points[:, 1:] - points[:, :-1])  # (N, points - 1)
    middles = _norms(points[:, 1:] + points[:, :-1]) / 2
    unlikely = -log_chi(middles.clamp_min(1e-6), points.shape[2])
    return (lengths * unlikely + LENGTH_PENALTY * (lengths - longest[:, None]).clamp_min(0)).sum(dim=1)


def norm_guided_path(first: Tensor, second: Tensor, *, points: int = 50,
                     optimizer: PathOptimizer = PathOptimizer()) -> NormGuided:
    """The likeliest path between two latents (1, C, H, W), in `points` latents with the two at its ends.

    Starts from the straight line. Raises ValueError for latents that do not match, or fewer than 3 points.
    """
    ends = torch.cat(_matching([first, second]))
    _check_points(points)
    flat = ends.flatten(1)  # (2, L)
    shares = torch.linspace(0, 1, points)[1:-1, None]
    inner = ((1 - shares) * flat[:1] + shares * flat[1:]).requires_grad_()  # (points - 2, L)
    longest = 2 * _norms(flat[:1] - flat[1:]) / points

    def cost() -> Tensor:
        return path_cost(torch.cat([flat[:1], inner, flat[1:]])[None], longest).sum()

    left, iterations = _minimise([inner], cost, optimizer)
    found = torch.cat([flat[:1], inner.detach(), flat[1:]])
    return NormGuided(found.reshape(points, *ends.shape[1:]), left, iterations)


def norm_guided_centroid(latents: Tensor, *, points: int = 50,
                         optimizer: PathOptimizer = CENTROID_OPTIMIZER) -> NormGuided:
    """The centroid c of latents (N, C, H, W): least cost of the paths from all of them to c, and of c's own norm.

    One path per latent and c itself are optimised together. c starts from the spherical mean of two latents or the
    linear mean of more, as in the paper's code, and the paths from straight lines.
    """
    check_latents(latents)
    _check_points(points)
    flat = latents.detach().float().cpu().flatten(1)  # (N, L)
    first = interpolate(latents, method="slerp" if len(latents) == 2 else "lin", mean_adjustment="none").latents
    centre = first.cpu().flatten(1).clone()  # (1, L)
    shares = torch.linspace(0, 1, points)[1:-1, None]
    inner = ((1 - shares) * flat[:, None] + shares * centre).requires_grad_()  # (N, points - 2, L)
    longest = 2 * _norms(flat - centre) / points
    centre.requires_grad_()

    def cost() -> Tensor:
        paths = torch.cat([flat[:, None], inner, centre.expand(len(flat), -1)[:, None]], dim=1)  # (N, points, L)
        return path_cost(paths, longest).sum() - log_chi(_norms(centre), flat.shape[1]).sum()

    left, iterations = _minimise([inner, centre], cost, optimizer)
    return NormGuided(centre.detach().reshape(1, *latents.shape[1:]), left, iterations)


def _norms(rows: Tensor) -> Tensor:
    """The norms (...) of rows (..., L) on the CPU, in fp64: at full size log chi is what is left of terms of many
    thousands, whose rounding in fp32 is larger than the changes of a cost that settles."""
    return torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)


def _minimise(variables: list[Tensor], cost: Callable[[], Tensor], optimizer: PathOptimizer) -> tuple[float, int]:
    adam = torch.optim.Adam(variables, lr=optimizer.learning_rate)
    previous, quiet, iterations = math.inf, 0, 0
    with torch.enable_grad():
        for iterations in range(1, optimizer.iterations + 1):  # noqa: B007  returned behind the loop
            adam.zero_grad(set_to_none=True)
            loss = cost()
            loss.backward()
            adam.step()
            quiet = quiet + 1 if abs(previous - loss.item()) < optimizer.tolerance else 0
            previous = loss.item()
            if quiet == optimizer.patience:
                break
    return previous, iterations


def _matching(latents: list[Tensor]) -> list[Tensor]:
    for latent in latents:
        check_latents(latent)
        if latent.shape != latents[0].shape or len(latent) != 1:
            raise ValueError("A path joins two single latents of one shape, not "
                             f"{tuple(latents[0].shape)} and {tuple(latents[1].shape)}.")
    return [latent.detach().float().cpu() for latent in latents]


def _check_points(points: int) -> None:
    if points < 3:
        raise ValueError(f"A path has 3 points or more, not {points}.")
