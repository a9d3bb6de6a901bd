"""Which latents of a solver's call are still moving, the best iterate of each, and what each has cost."""
from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..loss_scale import LossScale, backward
from ._best_rows import BestRows
from ._memory import recall, remember
from ._solver import Features, Iterate, Match

# What every call of a solver gives its tracker.
GIVEN = ("target", "energy")


class Tracker:
    """The latents of one call of a solver: which are still moving, the best iterate of each, and what each has cost.

    A latent is done when its residual is at most `tolerance`, or `share` of its first one, or when its best residual
    has fallen by less than the share `plateau` in the last `patience` evaluations (0: this never ends it). A mean of
    features is often not the features of any latent, so that without the last rule such a latent would take all
    iterations for nothing.

    A residual of NaN is as bad as infinity: the solver has gone too far and has to go back. Only a latent that starts
    there is done at once, because it has nowhere to go back to; its residual stays infinite.
    """

    def __init__(self, start: Tensor, target: Tensor, tolerance: float, plateau: float, patience: int, *,
                 share: float = 0.0):
        self.target, self.tolerance, self.plateau, self.patience = target, tolerance, plateau, patience
        self.share = share
        self.energy = target.square().sum().clamp_min(torch.finfo(torch.float32).tiny)
        self.found = BestRows(torch.full((len(start),), torch.inf, device=start.device, dtype=target.dtype),
                              start.detach().clone())
        self.before: Tensor | None = None
        self.iterations, self.forwards, self.backwards = (torch.zeros(len(start), dtype=torch.int64,
                                                                      device=start.device)
                                                          for _ in range(3))
        self.active = torch.arange(len(start), device=start.device)  # (b,), rows still moving
        self.past: list[Tensor] = []
        self.scale = LossScale(len(start))  # of the active rows

    @property
    def best(self) -> Tensor:
        """The smallest residual of each latent so far, (B,)."""
        return self.found.values

    @property
    def latents(self) -> Tensor:
        """The best iterate of each latent, (B, ...)."""
        return self.found.items[0]

    def residual(self, found: Tensor) -> Tensor:
        """|H - A|^2 / |A|^2 (b,) of features (b, ...), differentiable."""
        return (found - self.target).square().flatten(1).sum(1) / self.energy

    def pull(self, residual: Tensor) -> Tensor:
        """The root mean square (b,) of a residual's gradient 2 (H - A) / |A|^2 by the features: what enters the network
        in a backward pass."""
        return 2 * (residual / self.energy).sqrt() / math.sqrt(self.target.numel())

    def see(self, moving: Tensor, residual: Tensor) -> Tensor:
        """Take note of the active latents (b, ...) and their residuals (b,); says which of them go on, (b,) bool."""
        residual = torch.where(residual.isnan(), torch.inf, residual)
        if self.before is None:
            self.before = residual.clone()
        enough = (self.share * self.before[self.active]).nan_to_num(nan=0.0).clamp_min(self.tolerance)  # (b,)
        going = (residual > enough) & self.before[self.active].isfinite()
        self.forwards[self.active] += 1
        self.found.update(self.active, residual, moving.detach())
        if self.plateau:
            self.past.append(self.best.clone())
            if len(self.past) > self.patience:
                going &= self.best[self.active] <= (1 - self.plateau) * self.past.pop(0)[self.active]
        return going

    def take(self, going: Tensor, backwards: int) -> None:
        """Only the active latents in `going` (b,) stay; each takes a step at the price of `backwards` passes."""
        self.active = self.active[going]
        self.scale.keep(going)
        self.iterations[self.active] += 1
        self.backwards[self.active] += backwards

    def take_again(self, passes: Tensor) -> None:
        """Active latents have needed so many (b,) forward and backward passes more than one."""
        self.forwards[self.active] += passes
        self.backwards[self.active] += passes

    def iterate(self, iteration: int, most: int, **parts: Any) -> Iterate:
        """What a solver tells of after an iteration; `parts` are all else that it needs to go on."""
        own = {f"tracker.{name}": part for name, part in vars(self).items() if name not in GIVEN}
        memory = remember(iteration=iteration, **own, **parts)
        return Iterate(iteration, most, memory["tracker.found.items.0"], memory["tracker.found.values"],
                       memory["tracker.iterations"], memory)

    def recall(self, memory: dict[str, Tensor] | None, **parts: Any) -> int:
        """Go on from the memory of an iterate, if there is one, and give its objects among `parts` theirs; says how
        many iterations are behind it."""
        if memory is None:
            return 0
        for name, part in {"tracker": self, **parts}.items():
            recall(part, memory, name, self.target.device)
        return int(memory["iteration"])

    def match(self) -> Match:
        before = self.best if self.before is None else self.before
        return Match(self.latents, before, self.best, self.iterations, self.forwards, self.backwards)


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
    product = backward(lambda: tracker.residual(features(leaf)), leaf, residual)
    residual = residual.detach()
    gradient = tracker.scale.apply(product, torch.ones_like(residual), torch.where(going, tracker.pull(residual), 0.0))
    tracker.take_again(tracker.scale.tries.to(going.device) - 1)
    return residual, going, gradient
