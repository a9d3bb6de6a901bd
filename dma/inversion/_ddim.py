"""Explicit DDIM inversion (arXiv 2010.02502)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..diffusion import Parametrization
from ._method import Ascent, EulerWayBack
from ._state import State
from ._velocity import Velocity


@dataclass(frozen=True)
class Ddim(EulerWayBack):
    """Explicit inversion: x_t = x_s + (sigma_t - sigma_s) d, with d predicted from x_s.

    told: the noise level that the network is told, "target" (t, as in the code of null-text inversion and in the
        inverse scheduler of diffusers) or "source" (s, an ordinary Euler step). From level 0, where a source says
        nothing, both are told the first level above it or `SMALLEST_LABEL`.
    """

    told: str = "target"
    name: ClassVar[str] = "ddim"

    def check(self, parametrization: Parametrization) -> None:
        if self.told not in ("target", "source"):
            raise ValueError(f"The network can be told the noise level of the target or the source, not {self.told!r}.")

    def ascend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> Ascent:
        (x,), (s, t) = state, levels[index : index + 2]
        return Ascent((x + (t - s) * velocity(x, s, label=t if self.told == "target" else s),))
