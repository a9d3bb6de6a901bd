"""L-BFGS, which learns the curvature from gradients.

Its steps shrink with the gradient and need no learning rate: a latent that nearly agrees is not thrown off, as it is by
a fresh Adam.
"""
from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from ._limits import Limits, refuse_unless
from ._solver import Features, Iterate, Match
from ._tracker import Tracker, residual_and_gradient

SUFFICIENT_DECREASE = 1e-4  # Armijo's constant, as everywhere
SMALLEST_CURVATURE = 1e-8  # s.y / (|s| |y|) of a pair worth remembering


@dataclass(frozen=True)
class LBFGS(Limits):
    """Limited-memory BFGS (Nocedal 1980) with backtracking, batched: every latent has its own pairs and step length.

    One iteration is one evaluation of H and its gradient for all active latents, taken or rejected: where the residual
    has not fallen enough (Armijo), or it or its gradient is not finite, the latent goes back and tries a shorter step
    along the same direction. The first step of each latent has the length f / |g|^2, which needs no unit (Polyak's step
    towards a residual of zero).

    >>> match = LBFGS(iterations=20, tolerance=1e-9).solve(lambda z: 2 * z, torch.zeros(3, 2), torch.ones(2))
    >>> bool((match.latents - 0.5).abs().max() < 1e-4)
    True
    """

    iterations: int = 40
    tolerance: float = 0.0
    plateau: float = 0.0
    patience: int = 5
    memory: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unless(self.memory >= 1, "memory", self.memory, "at least 1 pair has to be remembered")

    @property
    def most_passes(self) -> tuple[int, int]:
        return self.iterations + 1, self.iterations

    def iterates(self, features: Features, start: Tensor, target: Tensor,
                 memory: dict[str, Tensor] | None = None) -> Generator[Iterate, None, Match]:
        tracker = Tracker(start, target, self.tolerance, self.plateau, self.patience)
        trial = start.detach().clone().flatten(1)  # (b, n)
        point, gradient = trial, torch.zeros_like(trial)
        # (b,)
        value, length, slope = tracker.best.clone(), torch.ones_like(tracker.best), torch.zeros_like(tracker.best)
        # Pairs (m, b, n), the newest last; where a latent has fewer, they are zero and do nothing.
        moves, changes = trial.new_zeros(self.memory, *trial.shape), trial.new_zeros(self.memory, *trial.shape)
        begun = tracker.recall(memory)
        if memory is not None:
            trial, point, gradient, value, length, slope, moves, changes = (
                memory[name].to(trial.device) for name in ("trial", "point", "gradient", "value", "length", "slope",
                                                           "moves", "changes"))
        for iteration in range(begun, self.iterations + 1):
            shaped = trial.view(-1, *start.shape[1:])
            residual, going, found = residual_and_gradient(features, tracker, shaped, last=iteration == self.iterations)
            if found is None:
                break
            found = found.flatten(1)
            if not going.all():
                trial, point, gradient, found = trial[going], point[going], gradient[going], found[going]
                value, length, slope, residual = value[going], length[going], slope[going], residual[going]
                moves, changes = moves[:, going], changes[:, going]
            tracker.take(going, backwards=1)
            usable = found.isfinite().all(1)  # (b,)
            # The first value is infinite, and a latent without a gradient there stays where it is.
            accepted = (residual <= value + SUFFICIENT_DECREASE * length * slope) & (usable | value.isinf())  # (b,)
            found = torch.where(usable[:, None], found, 0.0)
            move, change = trial - point, found - gradient
            curved = dot(move, change) > SMALLEST_CURVATURE * move.norm(dim=1) * change.norm(dim=1)
            learned = (accepted & curved)[None, :, None]
            moves = torch.where(learned, torch.cat([moves[1:], move[None]]), moves)
            changes = torch.where(learned, torch.cat([changes[1:], change[None]]), changes)
            # The minimum of the parabola through value, slope and the rejected residual, kept within sensible bounds.
            shorter = -slope * length.square() / (2 * (residual - value - slope * length))
            shorter = torch.where(residual.isfinite(), shorter, 0.0)
            length = torch.where(accepted, 1.0, torch.minimum(torch.maximum(shorter, 0.1 * length), 0.5 * length))
            taken = accepted[:, None]
            point, gradient = torch.where(taken, trial, point), torch.where(taken, found, gradient)
            value = torch.where(accepted, residual, value)
            direction = -_inverse_hessian_times(gradient, moves, changes, value)
            slope = dot(direction, gradient)
            trial = point + length[:, None] * direction
            yield tracker.iterate(iteration + 1, self.iterations, trial=trial, point=point, gradient=gradient,
                                  value=value, length=length, slope=slope, moves=moves, changes=changes)
        return tracker.match()


def dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)


def _inverse_hessian_times(gradient: Tensor, moves: Tensor, changes: Tensor, value: Tensor) -> Tensor:
    """The two-loop recursion for each row of `gradient` (b, n) with its pairs (m, b, n); `value` (b,) sets the first
    step."""
    curvature = dot(moves, changes)  # (m, b)
    weight = torch.where(curvature > 0, 1 / curvature, 0.0)
    result, coefficients = gradient, []
    for move, change, rho in zip(moves.flip(0), changes.flip(0), weight.flip(0)):
        coefficient = rho * dot(move, result)  # (b,)
        coefficients.append(coefficient)
        result = result - coefficient[:, None] * change
    newest = curvature[-1] / dot(changes[-1], changes[-1])
    result = result * torch.where(curvature[-1] > 0, newest, value / dot(gradient, gradient).clamp_min(1e-30))[:, None]
    for move, change, rho, coefficient in zip(moves, changes, weight, reversed(coefficients)):
        result = result + (coefficient - rho * dot(change, result))[:, None] * move
    return result
