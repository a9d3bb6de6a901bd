"""What a run costs: the plan behind the progress bar, and the time left from what each kind of work has cost so far."""
from __future__ import annotations

import math
from dataclasses import dataclass

from ..execution import seconds_for
from ..solvers import Solver
from ._report import AlignedStep
from ._settings import AlignmentSettings

# Costs in passes through the network up to the semantic layer; they only steer the progress bar.
BACKWARD_COST = 2.0
PREDICTION_COST = 6.0
# How likely a match that ended on a plateau is taken to be followed by one that does; benchmarks/alignment_speed.py
# shows how near the estimates come.
PLATEAU_AGAIN = 0.75


@dataclass(frozen=True)
class Plan:
    """The most that a run can need, in passes through the network up to the semantic layer.

    count: latents of the first mean. moving: latents matched and carried. kept: latents sampled to the end.
    """

    count: int
    moving: int
    kept: int
    aligned_steps: int
    steps: int
    target_updates: int
    solver: Solver

    @classmethod
    def of(cls, settings: AlignmentSettings, steps: int, count: int, moving: int) -> Plan:
        """The plan of an alignment of `count` latents, of which `moving` at most go on, in a schedule of `steps`."""
        moving = min(count, moving)
        return cls(count, moving, min(settings.keep, moving), settings.aligned_steps, steps, settings.target_updates,
                   settings.solver)

    @property
    def first(self) -> float:
        """What the first mean costs more than later ones."""
        return float(self.count - self.moving) if self.aligned_steps else 0.0

    @property
    def update(self) -> float:
        """One mean over the latents that are moving, and matching them to it."""
        forwards, backwards = self.solver.most_passes
        return self.moving * (1 + forwards + BACKWARD_COST * backwards)

    @property
    def step(self) -> float:
        """One aligned step."""
        return self.target_updates * self.update + PREDICTION_COST * self.moving

    @property
    def total(self) -> float:
        rest = PREDICTION_COST * self.kept * (self.steps - self.aligned_steps)
        return max(1e-9, self.first + self.aligned_steps * self.step + rest)


def seconds_left(pace: dict[str, list[float]], plan: Plan, records: list[AlignedStep], residual: float) -> float:
    """Expected seconds from the moment when, after the aligned steps `records`, the next step's first target has been
    taken.

    `residual` is that of the moving latents to this target, on average. After the last aligned step it means nothing.
    """
    left = plan.aligned_steps - len(records)
    mean = plan.moving * max(0, plan.target_updates * left - 1)
    matching = plan.moving * iterations_ahead(plan.solver, records, residual, left)
    # In the last aligned step only those that are kept still move on.
    predictions = plan.moving * max(0, left - 1) + plan.kept * (plan.steps - plan.aligned_steps + (left > 0))
    return (seconds_for(pace, "mean", mean) + seconds_for(pace, "match", matching)
            + seconds_for(pace, "predict", predictions))


def iterations_ahead(solver: Solver, records: list[AlignedStep], residual: float, steps: int) -> float:
    """Iterations per latent to be expected of `steps` aligned steps, the first of which starts from `residual`.

    No step is taken to need more of them than the last step that had any, and every change of the noise level to
    multiply what was left as the last change did. How much an iteration gains is not known where that step ended on a
    plateau: the residual may fall as it fell there on the whole, or as if no plateau were met again. What is expected
    lies between, nearer to the first.
    """
    matched = next((step for step in reversed(records) if sum(step.iterations)), None)
    if matched is None:
        return 0.0
    most = sum(matched.iterations) / len(matched.iterations)
    gained = plain = 0.0
    for before, after, taken in zip(matched.residual_before, matched.residual_after, matched.iterations):
        if after > 0:
            gained += math.log(before / after)
            met_plateau = solver.plateau and taken < solver.iterations and solver.tolerance < after < before
            # What is above the plateau falls to the share `plateau` of it.
            plain += math.log((before - after) / (solver.plateau * after)) if met_plateau else math.log(before / after)
    rate, faster = gained / sum(matched.iterations), max(gained, plain) / sum(matched.iterations)
    change = residual / max(1e-30, sum(records[-1].residual_after) / len(records[-1].residual_after))
    total = 0.0
    for _ in range(steps):
        if residual <= solver.tolerance:
            break
        needed = [min(most, math.log(residual / solver.tolerance) / each) if solver.tolerance and each > 0 else most
                  for each in (rate, faster)]
        expected = (1 - PLATEAU_AGAIN) * needed[1] + PLATEAU_AGAIN * needed[0]
        total += expected
        residual *= math.exp(-rate * expected) * change
    return total
