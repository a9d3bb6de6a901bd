"""What a run costs: the plan behind the progress bar, and the time left from what each kind of work has cost so far."""
from __future__ import annotations

from dataclasses import dataclass

from ..execution import seconds_for
from ..solvers import PastMatch, Solver
from ._report import AlignedStep
from ._settings import AlignmentSettings

# Costs in passes through the network up to the semantic layer; they only steer the progress bar.
BACKWARD_COST = 2.0
PREDICTION_COST = 6.0


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
    past = [PastMatch(record.residual_before, record.residual_after, record.iterations) for record in records]
    matching = plan.moving * plan.solver.expected_iterations(past, residual, left)
    # In the last aligned step only those that are kept still move on.
    predictions = plan.moving * max(0, left - 1) + plan.kept * (plan.steps - plan.aligned_steps + (left > 0))
    return (seconds_for(pace, "mean", mean) + seconds_for(pace, "match", matching)
            + seconds_for(pace, "predict", predictions))
