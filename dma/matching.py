"""Solvers of  min_z |H(z) - A|^2 : move a latent until its features are the target's. Here Adam, in `dma.newton`
others.

A solver is called as `solver.solve(features, start, target)` and treats every latent of the batch as a problem of its
own, so that results do not depend on how latents are grouped. A latent that is done leaves the batch.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Match:
    """What a solver found. Residuals are |H(z) - A|^2 / |A|^2, one per latent.

    The latents are the best iterates, so `residual_after` never exceeds `residual_before`. Passes are those that the
    latent would need alone: a batch runs them for all its rows, whether or not each of them still needs its gradient.
    """

    latents: Tensor  # (B, ...)
    residual_before: Tensor  # (B,)
    residual_after: Tensor  # (B,)
    iterations: Tensor  # (B,) int64, steps taken
    forwards: Tensor  # (B,) int64, evaluations of H
    backwards: Tensor  # (B,) int64, products with the transposed Jacobian or the Jacobian


class Solver(Protocol):
    """How latents are matched to a target, and how far."""

    iterations: int
    tolerance: float

    def solve(self, features: Features, start: Tensor, target: Tensor) -> Match:
        """Match each latent of `start` (B, ...) to `target`, the features of one latent."""
        ...

    @property
    def most_passes(self) -> tuple[int, int]:
        """The forward and backward passes of a latent that takes all iterations."""
        ...


class Tracker:
    """The latents of one call of a solver: which are still moving, the best iterate of each, and what each has cost.

    A latent is done when its residual is at most `tolerance`, or when its best residual has fallen by less than the
    share `plateau` in the last `patience` evaluations (0: this never ends it). A mean of features is often not the
    features of any latent, so that without the second rule such a latent would take all iterations for nothing.
    """

    def __init__(self, start: Tensor, target: Tensor, tolerance: float, plateau: float, patience: int):
        self.target, self.tolerance, self.plateau, self.patience = target, tolerance, plateau, patience
        self.energy = target.square().sum().clamp_min(torch.finfo(torch.float32).tiny)
        self.latents = start.detach().clone()
        self.before: Tensor | None = None
        self.best = torch.full((len(start),), float("inf"), device=start.device, dtype=target.dtype)  # (B,)
        self.iterations, self.forwards, self.backwards = (torch.zeros(len(start), dtype=torch.int64,
                                                                      device=start.device)
                                                          for _ in range(3))
        self.active = torch.arange(len(start), device=start.device)  # (b,), rows still moving
        self.past: list[Tensor] = []

    def residual(self, found: Tensor) -> Tensor:
        """|H - A|^2 / |A|^2 (b,) of features (b, ...), differentiable."""
        return (found - self.target).square().flatten(1).sum(1) / self.energy

    def see(self, moving: Tensor, residual: Tensor) -> Tensor:
        """Take note of the active latents (b, ...) and their residuals (b,); says which of them go on, (b,) bool."""
        if self.before is None:
            self.before = residual.clone()
        self.forwards[self.active] += 1
        better = residual < self.best[self.active]
        improved = self.active[better]
        self.best[improved], self.latents[improved] = residual[
            better], moving.detach()[better].view(-1, *self.latents.shape[1:])
        going = residual > self.tolerance
        if self.plateau:
            self.past.append(self.best.clone())
            if len(self.past) > self.patience:
                going &= self.best[self.active] <= (1 - self.plateau) * self.past.pop(0)[self.active]
        return going

    def take(self, going: Tensor, backwards: int) -> None:
        """Only the active latents in `going` (b,) stay; each takes a step at the price of `backwards` passes."""
        self.active = self.active[going]
        self.iterations[self.active] += 1
        self.backwards[self.active] += backwards

    def match(self) -> Match:
        return Match(self.latents, self.before, self.best, self.iterations, self.forwards, self.backwards)


def residual_and_gradient(features: Features, tracker: Tracker, moving: Tensor,
                          last: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Residuals (b,), which latents go on (b,), and the gradient (b, ...) of each residual unless none goes on or
    `last`."""
    with torch.set_grad_enabled(not last):
        leaf = moving.detach().requires_grad_(not last)
        residual = tracker.residual(features(leaf))  # (b,)
    going = tracker.see(moving, residual.detach())
    if last or not going.any():
        return residual.detach(), going, None
    # With a vector and not of a sum: the sum would have to be taken with gradients on.
    (gradient,) = torch.autograd.grad(residual, leaf, torch.ones_like(residual))
    return residual.detach(), going, gradient


@dataclass(frozen=True)
class Adam:
    """The paper's solver (arXiv 2603.29239): Adam from fresh state on the squared differences.

    `learning_rate` is in the units of `start`. A latent stops when its residual reaches `tolerance`, on a plateau (see
    `Tracker`), or after `iterations` steps. Because the first steps of a fresh Adam have the size of the learning rate
    whatever the gradient, they move a latent that already agrees away from agreement: the best iterate is returned, and
    a latent within the tolerance is not touched.
    """

    learning_rate: float = 2e-2
    iterations: int = 300
    tolerance: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    plateau: float = 0.0
    patience: int = 10

    @property
    def most_passes(self) -> tuple[int, int]:
        return self.iterations + 1, self.iterations

    def solve(self, features: Features, start: Tensor, target: Tensor) -> Match:
        """Match each latent of `start` (B, ...) to `target`, the features of one latent.

        >>> adam = Adam(learning_rate=0.1, iterations=200, tolerance=1e-6)
        >>> match = adam.solve(lambda z: 2 * z, torch.zeros(3, 2), torch.ones(2))
        >>> bool((match.latents - 0.5).abs().max() < 1e-2)
        True
        """
        tracker = Tracker(start, target, self.tolerance, self.plateau, self.patience)
        moving = tracker.latents.clone()
        first_moment, second_moment = torch.zeros_like(moving), torch.zeros_like(moving)
        for iteration in range(self.iterations + 1):
            _, going, gradient = residual_and_gradient(features, tracker, moving, last=iteration == self.iterations)
            if gradient is None:
                break
            # The paper's loss is not divided by the target's norm, and Adam's epsilon knows the difference.
            gradient = gradient * tracker.energy
            if not going.all():
                moving, gradient = moving[going], gradient[going]
                first_moment, second_moment = first_moment[going], second_moment[going]
            tracker.take(going, backwards=1)
            first_moment = self.beta1 * first_moment + (1 - self.beta1) * gradient
            second_moment = self.beta2 * second_moment + (1 - self.beta2) * gradient.square()
            step = iteration + 1
            mean = first_moment / (1 - self.beta1**step)
            deviation = (second_moment / (1 - self.beta2**step)).sqrt()
            moving = moving - self.learning_rate * mean / (deviation + self.epsilon)
        return tracker.match()
