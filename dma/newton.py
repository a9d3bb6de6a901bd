"""Solvers of  min_z |H(z) - A|^2  that learn its curvature: L-BFGS from gradients, Gauss-Newton from the Jacobian.

Neither has a learning rate, and both have steps that shrink with the gradient: a latent that nearly agrees is not
thrown off, as it is by a fresh Adam.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .matching import Features, Match, Tracker, residual_and_gradient

SUFFICIENT_DECREASE = 1e-4  # Armijo's constant, as everywhere
SMALLEST_CURVATURE = 1e-8  # s.y / (|s| |y|) of a pair worth remembering


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS (Nocedal 1980) with backtracking, batched: every latent has its own pairs and step length.

    One iteration is one evaluation of H and its gradient for all active latents, taken or rejected: where the residual
    has not fallen enough (Armijo), the latent goes back and tries a shorter step along the same direction. The first
    step of each latent has the length f / |g|^2, which needs no unit (Polyak's step towards a residual of zero).
    """

    iterations: int = 40
    tolerance: float = 0.0
    plateau: float = 0.0
    patience: int = 5
    memory: int = 10

    @property
    def most_passes(self) -> tuple[int, int]:
        return self.iterations + 1, self.iterations

    def solve(self, features: Features, start: Tensor, target: Tensor) -> Match:
        """Match each latent of `start` (B, ...) to `target`, the features of one latent.

        >>> match = LBFGS(iterations=20, tolerance=1e-9).solve(lambda z: 2 * z, torch.zeros(3, 2), torch.ones(2))
        >>> bool((match.latents - 0.5).abs().max() < 1e-4)
        True
        """
        tracker = Tracker(start, target, self.tolerance, self.plateau, self.patience)
        trial = start.detach().clone().flatten(1)  # (b, n)
        point, gradient = trial, torch.zeros_like(trial)
        # (b,)
        value, length, slope = tracker.best.clone(), torch.ones_like(tracker.best), torch.zeros_like(tracker.best)
        # Pairs (m, b, n), the newest last; where a latent has fewer, they are zero and do nothing.
        moves, changes = trial.new_zeros(self.memory, *trial.shape), trial.new_zeros(self.memory, *trial.shape)
        for iteration in range(self.iterations + 1):
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
            accepted = residual <= value + SUFFICIENT_DECREASE * length * slope  # (b,); the first value is infinite
            move, change = trial - point, found - gradient
            curved = _dot(move, change) > SMALLEST_CURVATURE * move.norm(dim=1) * change.norm(dim=1)
            learned = (accepted & curved)[None, :, None]
            moves = torch.where(learned, torch.cat([moves[1:], move[None]]), moves)
            changes = torch.where(learned, torch.cat([changes[1:], change[None]]), changes)
            # The minimum of the parabola through value, slope and the rejected residual, kept within sensible bounds.
            shorter = -slope * length.square() / (2 * (residual - value - slope * length))
            length = torch.where(accepted, 1.0, torch.minimum(torch.maximum(shorter, 0.1 * length), 0.5 * length))
            taken = accepted[:, None]
            point, gradient = torch.where(taken, trial, point), torch.where(taken, found, gradient)
            value = torch.where(accepted, residual, value)
            direction = -_inverse_hessian_times(gradient, moves, changes, value)
            slope = _dot(direction, gradient)
            trial = point + length[:, None] * direction
        return tracker.match()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)


def _inverse_hessian_times(gradient: Tensor, moves: Tensor, changes: Tensor, value: Tensor) -> Tensor:
    """The two-loop recursion for each row of `gradient` (b, n) with its pairs (m, b, n); `value` (b,) sets the first
    step."""
    curvature = _dot(moves, changes)  # (m, b)
    weight = torch.where(curvature > 0, 1 / curvature, 0.0)
    result, coefficients = gradient, []
    for move, change, rho in zip(moves.flip(0), changes.flip(0), weight.flip(0)):
        coefficient = rho * _dot(move, result)  # (b,)
        coefficients.append(coefficient)
        result = result - coefficient[:, None] * change
    newest = curvature[-1] / _dot(changes[-1], changes[-1])
    result = result * torch.where(curvature[-1] > 0, newest, value / _dot(gradient, gradient).clamp_min(1e-30))[:, None]
    for move, change, rho, coefficient in zip(moves, changes, weight, reversed(coefficients)):
        result = result + (coefficient - rho * _dot(change, result))[:, None] * move
    return result


@dataclass(frozen=True)
class GaussNewton:
    """Levenberg-Marquardt: each step minimises |A - H(z) - J d|^2 + damping |d|^2 by conjugate gradients (CGLS).

    The Jacobian J is never formed. J^T u is a backward pass, and J v the gradient of v.(J^T u) by u, a backward pass
    through the backward pass, so the model must be differentiable twice: quantised linear layers and block checkpoints
    are not, nor is the fused attention, which is replaced for the time. `damping` is relative to |J g|^2 / |g|^2 at
    each point; it grows fourfold where a step fails and falls to a third where the linear picture predicted it well
    (each latent its own).
    """

    iterations: int = 8
    tolerance: float = 0.0
    plateau: float = 0.0
    patience: int = 3
    inner: int = 6
    damping: float = 1e-2

    @property
    def most_passes(self) -> tuple[int, int]:
        return 1 + 2 * self.iterations, self.iterations * (1 + 2 * self.inner)

    def solve(self, features: Features, start: Tensor, target: Tensor) -> Match:
        """Match each latent of `start` (B, ...) to `target`, the features of one latent.

        Raises ValueError if the features cannot be differentiated twice.

        >>> match = GaussNewton(iterations=5, tolerance=1e-8).solve(lambda z: 2 * z, torch.zeros(3, 2), torch.ones(2))
        >>> bool((match.latents - 0.5).abs().max() < 1e-3)
        True
        """
        tracker = Tracker(start, target, self.tolerance, self.plateau, self.patience)
        point = tracker.latents.clone()
        damping = torch.full_like(tracker.best, self.damping)  # (b,)
        with torch.no_grad():
            value = tracker.residual(features(point))  # (b,)
        going = tracker.see(point, value)
        for _ in range(self.iterations):
            if not going.any():
                break
            point, value, damping = point[going], value[going], damping[going]
            tracker.take(going, backwards=1 + 2 * self.inner)
            step, predicted = self.step(features, point, target, damping)
            tracker.forwards[tracker.active] += 1
            trial = point + step
            with torch.no_grad():
                residual = tracker.residual(features(trial))
            ratio = (value - residual) / (value - predicted / tracker.energy).clamp_min(1e-30)  # (b,)
            damping = damping * torch.where(ratio > 0.75, 1 / 3, torch.where(ratio < 0.25, 4.0, 1.0))
            going = tracker.see(trial, residual)
            fell = residual < value
            point = torch.where(fell.view(-1, *[1] * (point.ndim - 1)), trial, point)
            value = torch.where(fell, residual, value)
        return tracker.match()

    def step(self, features: Features, point: Tensor, target: Tensor, damping: Tensor) -> tuple[Tensor, Tensor]:
        """A step for each latent of `point` (b, ...), and the squared difference (b,) that J predicts after it."""
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            leaf = point.detach().requires_grad_()
            found = features(leaf)  # (b, ...)
            dual = torch.zeros_like(found, requires_grad=True)
            (transposed,) = torch.autograd.grad(found, leaf, dual, create_graph=True)

            def transposed_times(u: Tensor) -> Tensor:
                return torch.autograd.grad(found, leaf, u.view_as(found), retain_graph=True)[0].flatten(1)

            def times(v: Tensor) -> Tensor:
                return _second_derivative(transposed, dual, v.view_as(leaf)).flatten(1)

            difference = (target - found).detach().flatten(1)  # (b, f)
            solution = torch.zeros_like(leaf.detach().flatten(1))  # (b, n)
            search = descent = transposed_times(difference)  # (b, n)
            energy, shift = _dot(descent, descent), None
            for inner in range(self.inner):
                image = times(search)  # (b, f)
                if shift is None:
                    shift = damping * _dot(image, image) / energy.clamp_min(1e-30)
                length = energy / (_dot(image, image) + shift * _dot(search, search)).clamp_min(1e-30)
                solution = solution + length[:, None] * search
                difference = difference - length[:, None] * image
                if inner + 1 == self.inner:
                    break
                descent = transposed_times(difference) - shift[:, None] * solution
                energy, previous = _dot(descent, descent), energy
                search = descent + (energy / previous.clamp_min(1e-30))[:, None] * search
        return solution.detach().view_as(point), _dot(difference, difference).detach()


def _second_derivative(transposed: Tensor, dual: Tensor, direction: Tensor) -> Tensor:
    try:
        return torch.autograd.grad(transposed, dual, direction, retain_graph=True)[0]
    except RuntimeError as error:
        # What autograd says of layers with a backward pass of their own, and of those without a second derivative.
        if any(text in str(error)
               for text in ("differentiate twice", "not have been used in the graph", "not implemented",
                            "does not require grad")):
            raise ValueError("This model cannot be differentiated twice, which Gauss-Newton needs (quantised weights "
                             "and block checkpoints cannot, for example): choose the solver L-BFGS or Adam.") from error
        raise
