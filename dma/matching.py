"""Solvers of  min_z |H(z) - A|^2 : move a latent until its features are the target's.

A solver is called as `solver.solve(features, start, target)` and treats every latent of the batch as a problem of its
own, so that results do not depend on how latents are grouped.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Match:
    """What a solver found. Residuals are |H(z) - A|^2 / |A|^2, one per latent.

    The latents are the best iterates, so `residual_after` never exceeds `residual_before`.
    """

    latents: Tensor  # (B, ...)
    residual_before: Tensor  # (B,)
    residual_after: Tensor  # (B,)
    iterations: Tensor  # (B,) int64, gradient steps taken


@dataclass(frozen=True)
class Adam:
    """The paper's solver (arXiv 2603.29239): Adam from fresh state on the sum of squared differences.

    `learning_rate` is in the units of `start`. A latent stops when its residual reaches `tolerance` or after
    `iterations` steps; it leaves the batch then, so that the rest costs less. Because the first steps of a fresh Adam
    have the size of the learning rate whatever the gradient, they move a latent that already agrees away from
    agreement: the best iterate is returned, and a latent within the tolerance is not touched.
    """

    learning_rate: float = 2e-2
    iterations: int = 300
    tolerance: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def solve(self, features: Callable[[Tensor], Tensor], start: Tensor, target: Tensor) -> Match:
        """Match each latent of `start` (B, ...) to `target`, the features of one latent.

        >>> match = Adam(learning_rate=0.1, iterations=200, tolerance=1e-6).solve(lambda z: 2 * z, torch.zeros(3, 2), torch.ones(2))
        >>> bool((match.latents - 0.5).abs().max() < 1e-2)
        True
        """
        latents = start.detach().clone()
        energy = target.square().sum().clamp_min(torch.finfo(torch.float32).tiny)
        best = torch.full((len(start),), float("inf"), device=start.device, dtype=target.dtype)  # (B,)
        before = best.clone()
        taken = torch.zeros(len(start), dtype=torch.int64, device=start.device)
        active = torch.arange(len(start), device=start.device)  # rows still moving
        moving = latents.clone()
        first_moment, second_moment = torch.zeros_like(moving), torch.zeros_like(moving)
        for iteration in range(self.iterations + 1):
            last = iteration == self.iterations
            moving.requires_grad_(not last)
            with torch.set_grad_enabled(not last):
                losses = (features(moving) - target).square().flatten(1).sum(1)  # (b,)
                total = losses.sum()
            residual = losses.detach() / energy
            if iteration == 0:
                before = residual.clone()
            better = residual < best[active]
            improved = active[better]
            best[improved] = residual[better]
            latents[improved] = moving.detach()[better]
            going = residual > self.tolerance
            if last or not going.any():
                break
            (gradient,) = torch.autograd.grad(total, moving)
            moving = moving.detach()
            if not going.all():
                active, moving, gradient = active[going], moving[going], gradient[going]
                first_moment, second_moment = first_moment[going], second_moment[going]
            first_moment = self.beta1 * first_moment + (1 - self.beta1) * gradient
            second_moment = self.beta2 * second_moment + (1 - self.beta2) * gradient.square()
            step = iteration + 1
            mean = first_moment / (1 - self.beta1**step)
            deviation = (second_moment / (1 - self.beta2**step)).sqrt()
            moving = moving - self.learning_rate * mean / (deviation + self.epsilon)
            taken[active] += 1
        return Match(latents, before, best, taken)
