"""Adam, the paper's solver (arXiv 2603.29239)."""
from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from ._adam_moments import AdamMoments
from ._backtracking import Backtracking
from ._limits import Limits, refuse_unless
from ._solver import Features, Iterate, Match
from ._tracker import Tracker, residual_and_gradient


@dataclass(frozen=True)
class Adam(Limits):
    """The paper's solver (arXiv 2603.29239): Adam from fresh state on the squared differences.

    `learning_rate` is in the units of `start`. A latent stops when its residual reaches `tolerance`, on a plateau (see
    `Tracker`), or after `iterations` steps. Because the first steps of a fresh Adam have the size of the learning rate
    whatever the gradient, they move a latent that already agrees away from agreement: the best iterate is returned, and
    a latent within the tolerance is not touched. A latent whose step has ended in NaN or infinity goes back, and takes
    half as much of its steps from then on.

    >>> adam = Adam(learning_rate=0.1, iterations=200, tolerance=1e-6)
    >>> match = adam.solve(lambda z: 2 * z, torch.zeros(3, 2), torch.ones(2))
    >>> bool((match.latents - 0.5).abs().max() < 1e-2)
    True
    """

    learning_rate: float = 2e-2
    iterations: int = 300
    tolerance: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    plateau: float = 0.0
    patience: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unless(0 <= self.learning_rate < math.inf, "learning_rate", self.learning_rate,
                      "a positive number is needed")
        refuse_unless(0 <= self.beta1 < 1, "beta1", self.beta1, "it lies between 0 and 1")
        refuse_unless(0 <= self.beta2 < 1, "beta2", self.beta2, "it lies between 0 and 1")
        refuse_unless(0 <= self.epsilon < math.inf, "epsilon", self.epsilon, "a small positive number is needed")

    @property
    def most_passes(self) -> tuple[int, int]:
        return self.iterations + 1, self.iterations

    def tracked(self, start: Tensor, target: Tensor) -> Tracker:
        """What decides when each latent of a call is done."""
        return Tracker(start, target, self.tolerance, self.plateau, self.patience)

    def iterates(self, features: Features, start: Tensor, target: Tensor,
                 memory: dict[str, Tensor] | None = None) -> Generator[Iterate, None, Match]:
        tracker = self.tracked(start, target)
        moving = tracker.latents.clone()
        moments = AdamMoments(moving, beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon)
        steps = Backtracking(moving, torch.zeros_like(moving))
        begun = tracker.recall(memory, moments=moments, steps=steps)
        if memory is not None:
            moving = memory["moving"].to(moving.device)
        for iteration in range(begun, self.iterations + 1):
            last = iteration == self.iterations
            residual, going, gradient = residual_and_gradient(features, tracker, moving, last=last)
            if gradient is None:
                break
            # The paper's loss is not divided by the target's norm, and Adam's epsilon knows the difference.
            gradient = gradient * tracker.energy
            if not going.all():
                moving, gradient, residual = moving[going], gradient[going], residual[going]
                moments.keep(going)
                steps.keep(going)
            tracker.take(going, backwards=1)
            moving, gradient = steps.accepted(moving, gradient, residual)
            moving = steps.towards(moving - moments.step(gradient, self.learning_rate))
            yield tracker.iterate(iteration + 1, self.iterations, moving=moving, moments=moments, steps=steps)
        return tracker.match()


@dataclass(frozen=True)
class AdamToShare(Adam):
    """Adam where a latent is done, too, once its residual is at most `share` of the one that it has started from.

    As in arXiv 2506.01912, where latents begin far from their target and need not come closer than a share of that.

    >>> adam = AdamToShare(learning_rate=0.1, share=0.25)
    >>> match = adam.solve(lambda z: z, torch.zeros(2, 1), torch.ones(1))
    >>> match.iterations.tolist(), bool((match.residual_after <= 0.25 * match.residual_before).all())
    ([6, 6], True)
    """

    share: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unless(0 <= self.share <= 1, "share", self.share, "it lies between 0 and 1")

    def tracked(self, start: Tensor, target: Tensor) -> Tracker:
        return Tracker(start, target, self.tolerance, self.plateau, self.patience, share=self.share)
