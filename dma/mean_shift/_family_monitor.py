"""Where a family tree stands, for a progress bar and a log."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..execution import Event, Progress, Watcher, seconds_for
from ._family import SAMPLES, TREE, FamilySettings
from ._tree_state import TreeState


class FamilyMonitor:
    """Tells of the progress of a `family_tree`: predictions behind it, of the most that there can still be.

    count: of samples. steps: of the schedule. drawn: whether samples are drawn. `watch` gives the watcher of a part.
    """

    def __init__(self, tell: Callable[[Progress], None], settings: FamilySettings, count: int, steps: int, *,
                 drawn: bool = True):
        self.tell, self.settings, self.count, self.steps = tell, settings, count, steps
        self.drawn, self.done, self.fraction = drawn, 0.0, 0.0
        self.sampling = count * steps * drawn
        self.averages = settings.most_of_averages(count, steps)

    def watch(self, part: str) -> Watcher:
        listen = {SAMPLES: self.sampled, TREE: self.grown}.get(part, self.averaged)
        return lambda event, state: listen(event, state) if event.kind == "predict" else None

    def sampled(self, event: Event, state: Any) -> None:
        done = state.step * event.rows + event.row
        left = self.sampling - done + self.settings.most_of_tree(self.count) + self.averages
        self.report(done, left, f"sampling, step {state.step + 1} of {self.steps}", event, state)

    def grown(self, event: Event, state: TreeState) -> None:
        tree, level, flows = self.settings.tree, len(state.levels), state.flows
        self.done = max(self.done, self.sampling) + event.amount
        # As many flows as there are now, each in need of all that it may take.
        later = len(flows.points) * tree.count * tree.iterations * (len(tree.steps) - level - 1)
        left = len(flows.points) * tree.count * (tree.iterations - flows.iteration) - event.row
        message = (f"level {level + 1} of {len(tree.steps)}, move {flows.iteration + 1} of at most {tree.iterations}: "
                   f"{len(flows.points)} modes or fewer")
        self.report(self.done, max(0, left) + later + self.averages, message, event, state)

    def averaged(self, event: Event, state: Any) -> None:
        self.done += event.amount
        self.averages = max(0.0, self.averages - event.amount)
        self.report(self.done, self.averages, "averaging the modes", event, state)

    def report(self, done: float, left: float, message: str, event: Event, state: Any) -> None:
        self.fraction = max(self.fraction, min(1.0, done / max(1.0, done + left)))
        self.tell(Progress(self.fraction, message, event.clean, seconds_for(state.pace, "predict", left),
                           at_most=True))
