"""RF-Inversion (arXiv 2410.10792), for flow models."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..diffusion import Parametrization, salted_seed, starting_noise
from ._method import Ascent, EulerWayBack
from ._state import State
from ._velocity import Velocity


@dataclass(frozen=True)
class RFInversion(EulerWayBack):
    """RF-Inversion (arXiv 2410.10792): both directions are pulled towards where they should end.

        up    dx = [d + gamma ((y1 - x) / (1 - sigma) - d)] dsigma,   y1 one draw of standard normal noise from `seed`
        down  dx = [d + eta   ((x - y0) / (sigma - s0) - d)] dsigma,  y0 what was inverted, at the lowest level s0

    gamma 0 is plain inversion; gamma 1 arrives at y1, which knows nothing of the picture. eta 0 is plain sampling;
    eta 1 leads straight to y0; it acts on the first `controlled` (0 ... 1) of the steps down. All pictures
    are pulled to the same y1, so that none depends on its place in the batch. y1 is not what a sample of this seed
    starts from: inverted, such a sample would be pulled to the very noise that it was made of.
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

    def ascend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> Ascent:
        (x,), (s, t) = state, levels[index : index + 2]
        noise = starting_noise(1, tuple(x.shape[1:]), salted_seed(self.seed, "RF-Inversion"))  # (1, C, H, W)
        slope = velocity(x, s)
        return Ascent((x + (t - s) * (slope + self.gamma * ((noise - x) / (1 - s) - slope)),))

    def descend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> State:
        x, (s, t) = state[0], (levels[index - 1], levels[index])
        slope = velocity(x, t)
        # Counted in steps from the noise, so that the share means the same for any number of steps.
        if len(state) > 1 and len(levels) - 1 - index < self.controlled * (len(levels) - 1):
            slope = slope + self.eta * ((x - state[1]) / (t - levels[0]) - slope)
        return (x + (s - t) * slope, *state[1:])
