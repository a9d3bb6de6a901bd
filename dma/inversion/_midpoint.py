"""Midpoint solvers of the ODE, made for flow models.

They follow dx/dsigma = d(x, sigma) more closely than an Euler step does, in both directions, so that less is lost
between them. They only need d, and so work for eps and v models too.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ._method import Ascent, EulerWayBack
from ._state import State
from ._velocity import Velocity


@dataclass(frozen=True)
class Midpoint(EulerWayBack):
    """RF-Solver (arXiv 2411.04746), whose second-order Taylor step is the midpoint rule; two model calls a step.

        x_m = x + Delta/2 d(x, sigma),   x' = x + Delta d(x_m, sigma + Delta/2)
    """

    name: ClassVar[str] = "midpoint"

    def ascend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> Ascent:
        return Ascent(self._step(velocity, state, levels[index], levels[index + 1]))

    def descend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> State:
        return self._step(velocity, state, levels[index], levels[index - 1])

    def _step(self, velocity: Velocity, state: State, sigma: float, sigma_next: float) -> State:
        (x,), delta = state, sigma_next - sigma
        middle = x + delta / 2 * velocity(x, sigma)
        return (x + delta * velocity(middle, sigma + delta / 2),)


@dataclass(frozen=True)
class FireFlow(EulerWayBack):
    """FireFlow (arXiv 2412.07517): the midpoint rule with the last step's midpoint velocity in place of d(x, sigma).

    Still of second order, at one model call a step and one more for the first.
    """

    name: ClassVar[str] = "fireflow"

    def ascend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> Ascent:
        return Ascent(self._step(velocity, state, levels[index], levels[index + 1]))

    def descend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> State:
        return self._step(velocity, state, levels[index], levels[index - 1])

    def _step(self, velocity: Velocity, state: State, sigma: float, sigma_next: float) -> State:
        x, delta = state[0], sigma_next - sigma
        slope = state[1] if len(state) > 1 else velocity(x, sigma)
        slope = velocity(x + delta / 2 * slope, sigma + delta / 2)
        return x + delta * slope, slope
