"""Inversion made for flow models: midpoint solvers of the ODE, and RF-Inversion.

The solvers follow dx/dsigma = d(x, sigma) more closely than an Euler step does, in both directions, so that less is
lost between them. They only need d, and so work for eps and v models too.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .alignment import starting_noise
from .diffusion import Parametrization
from .inversion_methods import Ascent, EulerWayBack, State, Velocity


@dataclass(frozen=True)
class Midpoint(EulerWayBack):
    """RF-Solver (arXiv 2411.04746), whose second-order Taylor step is the midpoint rule; two model calls a step.

        x_m = x + Delta/2 d(x, sigma),   x' = x + Delta d(x_m, sigma + Delta/2)
    """

    name: ClassVar[str] = "midpoint"

    def ascend(self, velocity: Velocity, state: State, sigmas: list[float], index: int) -> Ascent:
        return Ascent(self._step(velocity, state, sigmas[index], sigmas[index + 1]))

    def descend(self, velocity: Velocity, state: State, sigmas: list[float], index: int) -> State:
        return self._step(velocity, state, sigmas[index], sigmas[index - 1])

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

    def ascend(self, velocity: Velocity, state: State, sigmas: list[float], index: int) -> Ascent:
        return Ascent(self._step(velocity, state, sigmas[index], sigmas[index + 1]))

    def descend(self, velocity: Velocity, state: State, sigmas: list[float], index: int) -> State:
        return self._step(velocity, state, sigmas[index], sigmas[index - 1])

    def _step(self, velocity: Velocity, state: State, sigma: float, sigma_next: float) -> State:
        x, delta = state[0], sigma_next - sigma
        slope = state[1] if len(state) > 1 else velocity(x, sigma)
        slope = velocity(x + delta / 2 * slope, sigma + delta / 2)
        return x + delta * slope, slope


@dataclass(frozen=True)
class RFInversion(EulerWayBack):
    """RF-Inversion (arXiv 2410.10792): both directions are pulled towards where they should end.

        up    dx = [d + gamma ((y1 - x) / (1 - sigma) - d)] dsigma,   y1 one draw of standard normal noise from `seed`
        down  dx = [d + eta   ((x - y0) / sigma       - d)] dsigma,   y0 the picture that was inverted

    gamma 0 is plain inversion; gamma 1 arrives at y1, which knows nothing of the picture. eta 0 is plain sampling;
    eta 1 leads straight to the picture; it acts on the first `controlled` (0 ... 1) of the steps down. All pictures
    are pulled to the same y1, so that none depends on its place in the batch.
    """

    gamma: float = 0.5
    eta: float = 1.0
    controlled: float = 0.25
    seed: int = 0
    name: ClassVar[str] = "rf_inversion"

    def check(self, parametrization: Parametrization) -> None:
        if parametrization is not Parametrization.FLOW:
            raise ValueError("RF-Inversion is made for flow models such as Stable Diffusion 3: choose another method "
                             "for this one.")
        for name in ("gamma", "eta", "controlled"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} of RF-Inversion is {getattr(self, name)}: it must lie between 0 and 1.")

    def companion(self, state: State, clean: Tensor) -> Tensor:
        return clean

    def resume(self, latents: Tensor, companion: Tensor | None) -> State:
        return (latents,) if companion is None else (latents, companion)

    def ascend(self, velocity: Velocity, state: State, sigmas: list[float], index: int) -> Ascent:
        (x,), (s, t) = state, sigmas[index : index + 2]
        noise = starting_noise(1, tuple(x.shape[1:]), self.seed)  # (1, C, H, W)
        slope = velocity(x, s)
        return Ascent((x + (t - s) * (slope + self.gamma * ((noise - x) / (1 - s) - slope)),))

    def descend(self, velocity: Velocity, state: State, sigmas: list[float], index: int) -> State:
        x, (s, t) = state[0], (sigmas[index - 1], sigmas[index])
        slope = velocity(x, t)
        # Counted in steps from the noise, so that the share means the same for any number of steps.
        if len(state) > 1 and len(sigmas) - 1 - index < self.controlled * (len(sigmas) - 1):
            slope = slope + self.eta * ((x - state[1]) / t - slope)
        return (x + (s - t) * slope, *state[1:])
