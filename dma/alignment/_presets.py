"""Named amounts of effort: what "draft", "standard" and "paper" mean in numbers."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..solvers import LBFGS, Adam, Solver
from ._settings import AlignmentSettings


@dataclass(frozen=True)
class Preset:
    """How much work goes into an average. What is averaged (count, steps, seed, keep) stays the user's choice.

    Fields are those of `AlignmentSettings`; `aligned_steps` is at most the number of steps.
    """

    aligned_steps: int
    solver: Solver
    carried: int
    own_noise: float
    mean_error: float

    def apply(self, settings: AlignmentSettings, steps: int) -> AlignmentSettings:
        """`settings` with this preset's effort, for a schedule of `steps` steps."""
        choices = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return dataclasses.replace(settings, **{**choices, "aligned_steps": min(self.aligned_steps, steps)})


PRESETS = {
    # One latent is in agreement with itself from the first step on, so that further aligned steps would do nothing.
    "draft": Preset(aligned_steps=1, solver=LBFGS(iterations=8, tolerance=0.01, plateau=0.05), carried=1, own_noise=0.0,
                    mean_error=0.05),
    "standard": Preset(aligned_steps=4, solver=LBFGS(iterations=40, tolerance=0.001, plateau=0.02), carried=4,
                       own_noise=0.3, mean_error=0.02),
    "paper": Preset(aligned_steps=10, solver=Adam(learning_rate=2e-2, iterations=300), carried=0, own_noise=1.0,
                    mean_error=0.0),
}
