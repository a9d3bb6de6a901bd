"""Gauss-Newton, which learns the curvature from the Jacobian.

Its steps shrink with the gradient and need no learning rate.
"""
from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..loss_scale import LossScale
from ._lbfgs import dot
from ._limits import Limits, refuse_unless
from ._math_attention import MathAttention
from ._solver import Features, Iterate, Match
from ._tracker import Tracker


@dataclass(frozen=True)
class GaussNewton(Limits):
    """Levenberg-Marquardt: each step minimises |A - H(z) - J d|^2 + damping |d|^2 by conjugate gradients (CGLS).

    The Jacobian J is never formed. J^T u is a backward pass, and J v the gradient of v.(J^T u) by u, a backward pass
    through the backward pass, so the model must be differentiable twice: quantised linear layers and block checkpoints
    are not, nor is the fused attention, which is replaced for the time. `damping` is relative to |J g|^2 / |g|^2 at
    each point; it grows fourfold where a step fails and falls to a third where the linear picture predicted it well
    (each latent its own). `solve` raises ValueError if the features cannot be differentiated twice.

    >>> match = GaussNewton(iterations=5, tolerance=1e-8).solve(lambda z: 2 * z, torch.zeros(3, 2), torch.ones(2))
    >>> bool((match.latents - 0.5).abs().max() < 1e-3)
    True
    """

    iterations: int = 8
    tolerance: float = 0.0
    plateau: float = 0.0
    patience: int = 3
    inner: int = 6
    damping: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unless(self.inner >= 1, "inner", self.inner, "a step takes at least 1 iteration of conjugate gradients")
        refuse_unless(0 <= self.damping < math.inf, "damping", self.damping, "it is finite and not negative")

    @property
    def most_passes(self) -> tuple[int, int]:
        return 1 + 2 * self.iterations, self.iterations * (1 + 2 * self.inner)

    def iterates(self, features: Features, start: Tensor, target: Tensor,
                 memory: dict[str, Tensor] | None = None) -> Generator[Iterate, None, Match]:
        tracker = Tracker(start, target, self.tolerance, self.plateau, self.patience)
        point = tracker.latents.clone()
        damping = torch.full_like(tracker.best, self.damping)  # (b,)
        back, forth = tracker.scale, LossScale(len(start))
        begun = tracker.recall(memory, forth=forth)
        if memory is None:
            with torch.no_grad():
                value = tracker.residual(features(point))  # (b,)
            going = tracker.see(point, value)
        else:
            point, value, damping, going = (memory[name].to(point.device)
                                            for name in ("point", "value", "damping", "going"))
        for iteration in range(begun, self.iterations):
            if not going.any():
                break
            point, value, damping = point[going], value[going], damping[going]
            tracker.take(going, backwards=1 + 2 * self.inner)
            forth.keep(going)
            retries = back.retries + forth.retries
            step, predicted = self.step(features, point, target, damping, scales=(back, forth))
            # What is scaled down and done again takes no other forward pass: the graph is kept.
            tracker.backwards[tracker.active] += (back.retries + forth.retries - retries).to(point.device)
            tracker.forwards[tracker.active] += 1
            trial = point + step
            with torch.no_grad():
                residual = tracker.residual(features(trial))
            ratio = (value - residual) / (value - predicted / tracker.energy).clamp_min(1e-30)  # (b,)
            # A trial that is not finite has a ratio of NaN or -infinity, and fails like any other.
            damping = damping * torch.where(ratio > 0.75, 1 / 3, torch.where(ratio >= 0.25, 1.0, 4.0))
            going = tracker.see(trial, residual)
            fell = residual < value
            point = torch.where(fell.view(-1, *[1] * (point.ndim - 1)), trial, point)
            value = torch.where(fell, residual, value)
            yield tracker.iterate(iteration + 1, self.iterations, point=point, value=value, damping=damping,
                                  going=going, forth=forth)
        return tracker.match()

    def step(self, features: Features, point: Tensor, target: Tensor, damping: Tensor, *,
             scales: tuple[LossScale, LossScale] | None = None) -> tuple[Tensor, Tensor]:
        """A step for each latent of `point` (b, ...), and the squared difference (b,) that J predicts after it.

        scales: those of J^T u and of J v, which know from the steps before how far a row has to be scaled down.
        """
        back, forth = scales or (LossScale(len(point)), LossScale(len(point)))
        with torch.enable_grad(), MathAttention():
            leaf = point.detach().requires_grad_()
            found = features(leaf)  # (b, ...)
            dual = torch.zeros_like(found, requires_grad=True)
            (transposed,) = torch.autograd.grad(found, leaf, dual, create_graph=True)

            def transposed_times(u: Tensor) -> Tensor:
                return back.apply(lambda u: torch.autograd.grad(found, leaf, u.view_as(found),
                                                                retain_graph=True)[0].flatten(1), u)

            def times(v: Tensor) -> Tensor:
                return forth.apply(lambda v: _second_derivative(transposed, dual, v.view_as(leaf)).flatten(1), v)

            difference = (target - found).detach().flatten(1)  # (b, f)
            solution = torch.zeros_like(leaf.detach().flatten(1))  # (b, n)
            search = descent = transposed_times(difference)  # (b, n)
            energy, shift = dot(descent, descent), None
            for inner in range(self.inner):
                image = times(search)  # (b, f)
                if shift is None:
                    shift = damping * dot(image, image) / energy.clamp_min(1e-30)
                length = energy / (dot(image, image) + shift * dot(search, search)).clamp_min(1e-30)
                solution = solution + length[:, None] * search
                difference = difference - length[:, None] * image
                if inner + 1 == self.inner:
                    break
                descent = transposed_times(difference) - shift[:, None] * solution
                energy, previous = dot(descent, descent), energy
                search = descent + (energy / previous.clamp_min(1e-30))[:, None] * search
        return solution.detach().view_as(point), dot(difference, difference).detach()


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
