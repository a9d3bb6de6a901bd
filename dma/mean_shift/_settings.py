"""The choices of an average by mean shift that its result depends on."""
from __future__ import annotations

import math
from dataclasses import dataclass

# Measured on the demo models: see docs/mean_shift.md.
GUIDANCE_SHARE = 0.7  # of the guidance in the end, in the averaged levels
FULL_NOISE, LEAST_NOISE = 3.0, 0.5  # the guidance up to which all noise is given back, and what is in any case
NOISE_PER_GUIDANCE = 1 / 8  # by which it is less for more guidance


def averaged_guidance(guidance_scale: float, share: float = GUIDANCE_SHARE) -> float:
    """The guidance scale of the averaged levels: 1 + share (guidance_scale - 1).

    Guidance is applied again at every averaged level, so that with all of it contrast grows from level to level.
    """
    return 1 + share * (guidance_scale - 1)


def noise_for(guidance_scale: float) -> float:
    """The restored noise that suits a guidance scale: 1 up to 3, 0.5 from 7 on, in a straight line between.

    A latent without its noise is drawn too smooth, and strong guidance sharpens what is smooth.
    """
    return min(1.0, max(LEAST_NOISE, 1 - NOISE_PER_GUIDANCE * (guidance_scale - FULL_NOISE)))


@dataclass(frozen=True)
class MeanShiftSettings:
    """The choices of an average by mean shift that its result depends on.

    count: K, the most noises that a level's mean is taken over.
    averaged_steps: A, leading levels of the schedule at which the mean is taken anew.
    mean_error: a level stops adding noises when the standard error of its mean, relative to the mean's norm, is at most
        this. 0 always takes all.
    restored_noise: s, the share (0 ... 1) of a level's own noise that the average is given before it is sampled to the
        end. 0 adds none: seeds then differ by the error of the mean alone.
    shared_noise: whether that noise is the same for every seed, or drawn from the run's own.
    keep: pictures to finish, each with a noise of its own; more than one only where there is noise to tell them apart.
    """

    count: int = 32
    averaged_steps: int = 6
    seed: int = 0
    mean_error: float = 0.0
    restored_noise: float = 0.0
    shared_noise: bool = True
    keep: int = 1

    def check(self, steps: int, *, first: int = 0) -> None:
        """Raise ValueError if these settings make no sense for a schedule of `steps`, averaged from step `first` on."""
        if self.count < 1:
            raise ValueError(f"count is {self.count}: a mean needs at least 1 noise (32 is a good start).")
        if not 1 <= self.averaged_steps:
            raise ValueError(f"averaged_steps is {self.averaged_steps}: an average needs at least 1 averaged level.")
        if not 0 <= first < steps or first + self.averaged_steps > steps:
            raise ValueError(f"{self.averaged_steps} levels from step {first} on are to be averaged, but there are "
                             f"only {steps} steps: lower averaged_steps{', begin earlier' if first else ''} or raise "
                             "steps.")
        if not (math.isfinite(self.mean_error) and self.mean_error >= 0):
            raise ValueError(f"mean_error is {self.mean_error}: use 0 to take all noises, or a positive number.")
        if not 0 <= self.restored_noise <= 1:
            raise ValueError(f"restored_noise is {self.restored_noise}: it must lie between 0 and 1.")
        if self.keep < 1 or (self.keep > 1 and (self.restored_noise == 0 or first + self.averaged_steps == steps)):
            raise ValueError(f"keep is {self.keep}: without restored noise there is one picture, and never fewer.")
