"""One step up and one step down the noise levels: what methods of deterministic inversion differ in.

Both follow the probability-flow ODE dx/dsigma = d(x, sigma), where d is the predicted noise eps for eps and v models
and the velocity for flow. A step down evaluates d at its upper end and is exactly DDIM (Euler for flow). A step up that
evaluated it there too would be its inverse, but that end is what is sought; methods differ in how they deal with this.
"""
from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from ..diffusion import Parametrization, clean_estimate
from ..execution import Iteration
from ._state import State
from ._velocity import Velocity


class WayBack(Protocol):
    """How latents are taken down the noise levels again."""

    name: ClassVar[str]

    def resume(self, latents: Tensor, companion: Tensor | None) -> State:
        """The state at the highest level, from latents and what the trajectory carries for each of them, if it is
        there."""
        ...

    def descend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> State:
        """One step from levels[index] (rising) down to levels[index - 1]."""
        ...


def pointed_at(method: WayBack, before: State, after: State, level: float, following: float) -> Tensor:
    """The clean latents (B, C, H, W) that a step between two levels points at, for previews.

    The end of the straight line through both latents, unless the method has a `pointed_at` of its own, as one whose
    steps hold fresh noise does.
    """
    own = getattr(method, "pointed_at", None)
    return clean_estimate(before[0], after[0], level, following) if own is None else own(before, after)


@dataclass(frozen=True)
class Ascent:
    """One step up. `residual` (B,), `iterations` (B,) and `code` (B,), the norm of what the step's noise is solved to
    be over sqrt(L), only from methods that come by them on the way."""

    state: State
    residual: Tensor | None = None
    iterations: Tensor | None = None
    code: Tensor | None = None


class Method(WayBack, Protocol):
    """An inversion with its way back. Every latent is treated alone: a batch gives what its latents give alone.

    Methods are dataclasses: their fields are what the report says of them.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def check(self, parametrization: Parametrization) -> None: ...

    def begin(self, clean: Tensor) -> State: ...

    def ascend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> Ascent:
        """One step from levels[index] (rising) up to levels[index + 1]."""
        ...

    def companion(self, state: State, clean: Tensor) -> Tensor | None:
        """What `resume` needs besides the latents, one row per latent."""
        ...


@runtime_checkable
class IterativeMethod(Protocol):
    """A method whose steps up are iterations that it tells of."""

    def ascending(self, velocity: Velocity, state: State, levels: Sequence[float],
                  index: int) -> Generator[Iteration, None, Ascent]:
        """`Method.ascend`, telling of each iteration."""
        ...


def ascending(method: Method, velocity: Velocity, state: State, levels: Sequence[float],
              index: int) -> Generator[Iteration, None, Ascent]:
    """The step up of any method; one that does not iterate tells of nothing."""
    if isinstance(method, IterativeMethod):
        return (yield from method.ascending(velocity, state, levels, index))
    return method.ascend(velocity, state, levels, index)


class EulerWayBack:
    """Plain deterministic sampling, x' = x + (sigma' - sigma) d(x, sigma), and nothing carried besides the latents."""

    def check(self, parametrization: Parametrization) -> None:
        pass

    def begin(self, clean: Tensor) -> State:
        return (clean,)

    def companion(self, state: State, clean: Tensor) -> Tensor | None:
        return None

    def resume(self, latents: Tensor, companion: Tensor | None) -> State:
        return (latents,)

    def descend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> State:
        (x,) = state
        return (x + (levels[index - 1] - levels[index]) * velocity(x, levels[index]),)
