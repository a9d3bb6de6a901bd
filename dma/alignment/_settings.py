"""The choices that the result of an alignment depends on."""
from __future__ import annotations

from dataclasses import dataclass

from ..solvers import Adam, Solver


@dataclass(frozen=True)
class AlignmentSettings:
    """The choices of an alignment that its result depends on.

    count: K, the latents whose features are averaged (1 or more).
    aligned_steps: leading steps at which latents are matched to the mean.
    solver: how they are matched; its learning rate is in the papers' units if `paper_units`, else in ours.
    keep: how many of the aligned latents are denoised to the end and returned (1 ... count; one if own_noise is 0).
    target_updates: how often within a step the mean is taken anew; 1 is a target fixed for the whole step.
    carried: how many latents are matched and carried on after the first target has been taken from all K; 0 is all of
        them, as in the paper. Later targets are means over those carried, which agree already.
    own_noise: share (0 ... 1) of its own starting noise with which a latent enters the first match; the rest is the
        mean of all latents, x <- m + own_noise (x - m). 1 is the paper's method; with 0 all latents are the same from
        there on.
    mean_error: stop adding latents to the first mean when its standard error, relative to its norm, is at most this;
        `count` is then the most that are taken. 0 always takes all.
    restored_noise: share (0 ... 1) of the noise lost by averaging that is given back after the last aligned step, the
        same for all latents (`diffusion.restore_noise`); 0 is the paper's method.
    """

    count: int = 64
    aligned_steps: int = 10
    solver: Solver = Adam()
    keep: int = 4
    seed: int = 0
    target_updates: int = 1
    paper_units: bool = True
    restored_noise: float = 0.0
    carried: int = 0
    own_noise: float = 1.0
    mean_error: float = 0.0

    def check(self, steps: int) -> None:
        """Raise ValueError with a sentence for the user if these settings make no sense for `steps` steps."""
        if self.count < 1:
            raise ValueError(f"count is {self.count}: a mental average needs at least 1 latent (64 is a good start).")
        if not 0 <= self.aligned_steps <= steps:
            raise ValueError(f"aligned_steps is {self.aligned_steps}, but there are only {steps} steps: "
                             "lower aligned_steps, or raise steps if the model has more noise levels than that.")
        if not 1 <= self.keep:
            raise ValueError(f"keep is {self.keep}: at least 1 finished latent has to be returned.")
        if self.target_updates < 1:
            raise ValueError("target_updates must be at least 1 (a fixed target).")
        if self.carried < 0:
            raise ValueError(f"carried is {self.carried}: use 0 to match all latents, or a positive number.")
        if not 0 <= self.restored_noise <= 1:
            raise ValueError(f"restored_noise is {self.restored_noise}: it must lie between 0 and 1.")
        if not 0 <= self.own_noise <= 1:
            raise ValueError(f"own_noise is {self.own_noise}: it must lie between 0 and 1.")
        if self.mean_error < 0:
            raise ValueError(f"mean_error is {self.mean_error}: use 0 to average all latents, or a positive number.")

    @property
    def moving(self) -> int:
        """How many latents go on after the first mean; one if they would all be the same."""
        if not self.aligned_steps:
            return min(self.count, self.keep)
        if self.own_noise == 0:
            return 1
        return min(self.count, max(self.carried, self.keep)) if self.carried else self.count
