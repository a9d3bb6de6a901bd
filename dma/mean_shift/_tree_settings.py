"""The choices of a family tree of modes that its result depends on."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TreeSettings:
    """The choices of a family tree of modes that its result depends on.

    steps: the steps of the schedule at whose noise levels modes are looked for, in any order. count: K, the noises that
    all samples share at a level. iterations: the most that a sample moves at one level.
    """

    steps: tuple[int, ...] = (5, 7, 9, 11)
    count: int = 16
    iterations: int = 20
    seed: int = 0

    def check(self, samples: int, steps: int) -> None:
        """Raise ValueError if these settings make no sense for so many samples and a schedule of so many steps."""
        if samples < 2:
            raise ValueError(f"A family tree needs at least two samples, but there is {samples}.")
        if not self.steps or len(set(self.steps)) < len(self.steps):
            raise ValueError(f"The steps {list(self.steps)} are to be one or more, and all different.")
        if min(self.steps) < 0 or max(self.steps) >= steps:
            raise ValueError(f"The steps {list(self.steps)} must lie between 0 and {steps - 1}, the last of {steps} "
                             "steps.")
        if self.count < 2:
            raise ValueError(f"count is {self.count}: the error of a mean takes at least 2 noises (16 is a good "
                             "start).")
        if self.iterations < 3:
            raise ValueError(f"iterations is {self.iterations}: whether a sample stands still shows after 3 at the "
                             "earliest.")
