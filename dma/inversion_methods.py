"""One step up and one step down the noise levels: what methods of deterministic inversion differ in.

Both follow the probability-flow ODE dx/dsigma = d(x, sigma), where d is the predicted noise eps for eps and v models
and the velocity for flow. A step down evaluates d at its upper end and is exactly DDIM (Euler for flow). A step up that
evaluated it there too would be its inverse, but that end is what is sought; methods differ in how they deal with this.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from .denoiser import Denoiser
from .diffusion import Parametrization, paper_scale

# At level 0 a clean prediction says nothing of the velocity, so a model that is to be asked there is asked here.
SMALLEST_LABEL = 1e-3

# The latents (B, C, H, W) on the CPU, then whatever else a method carries from step to step, one row per latent.
State = tuple[Tensor, ...]


class Velocity:
    """d(x, sigma) = dx/dsigma as a Denoiser predicts it, for tensors on the CPU; counts what it took."""

    def __init__(self, denoiser: Denoiser):
        self.denoiser, self.parametrization, self.calls = denoiser, denoiser.parametrization, 0

    def __call__(self, x: Tensor, level: float, label: float | None = None, embedding: Tensor | None = None) -> Tensor:
        """The velocity (B, C, H, W) at latents `x` of noise level `level`, in the dtype of `x`.

        label: the noise level that the network is told (its timestep), where that is another one. It still sees the
            latent as it is at `level`: x / sqrt(1 + level^2) for eps and v models, x for flow.
        embedding: the unconditional embedding (B, T, D) to use, for a Denoiser that offers `denoise_with`.
        """
        self.calls += len(x)
        label = max(level if label is None else label, SMALLEST_LABEL)
        alpha, alpha_label = (paper_scale(self.parametrization, sigma) for sigma in (level, label))
        seen = (x * (alpha / alpha_label)).to(self.denoiser.device, torch.float32)
        if embedding is None:
            denoised = self.denoiser.denoise(seen, label)
        else:
            denoised = self.denoiser.denoise_with(seen, label, embedding.to(seen))
        if self.parametrization is Parametrization.V:
            v = (seen * alpha_label**2 - denoised) / (label * alpha_label)
            return alpha * v.to(x) + level * alpha**2 * x  # eps = sqrt(abar) v + sqrt(1 - abar) z
        return ((seen - denoised) / label).to(x)


class WayBack(Protocol):
    """How latents are taken down the noise levels again."""

    name: ClassVar[str]

    def resume(self, latents: Tensor, companion: Tensor | None) -> State:
        """The state at the highest level, from latents and what the trajectory carries for each of them, if it is
        there."""
        ...

    def descend(self, velocity: Velocity, state: State, sigmas: list[float], index: int) -> State:
        """One step from sigmas[index] (rising) down to sigmas[index - 1]."""
        ...


@dataclass(frozen=True)
class Ascent:
    """One step up. `residual` (B,) and `iterations` (B,) only from methods that come by them on the way."""

    state: State
    residual: Tensor | None = None
    iterations: Tensor | None = None


class Method(WayBack, Protocol):
    """An inversion with its way back. Every latent is treated alone: a batch gives what its latents give alone."""

    def check(self, parametrization: Parametrization) -> None: ...

    def begin(self, clean: Tensor) -> State: ...

    def ascend(self, velocity: Velocity, state: State, sigmas: list[float], index: int) -> Ascent:
        """One step from sigmas[index] up to sigmas[index + 1]."""
        ...

    def companion(self, state: State, clean: Tensor) -> Tensor | None:
        """What `resume` needs besides the latents, one row per latent."""
        ...


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

    def descend(self, velocity: Velocity, state: State, sigmas: list[float], index: int) -> State:
        (x,) = state
        return (x + (sigmas[index - 1] - sigmas[index]) * velocity(x, sigmas[index]),)


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

    def ascend(self, velocity: Velocity, state: State, sigmas: list[float], index: int) -> Ascent:
        (x,), (s, t) = state, sigmas[index : index + 2]
        return Ascent((x + (t - s) * velocity(x, s, label=t if self.told == "target" else s),))


@dataclass(frozen=True)
class FixedPoint(EulerWayBack):
    """Implicit inversion: x_t with x_t = g(x_t) = x_s + (sigma_t - sigma_s) d(x_t, sigma_t), by iteration from `Ddim`'s
    answer.

    A latent stops when its residual |g(x_t) - x_t| / |x_s|, what a step back misses, is at most `tolerance`, or after
    `iterations` corrections; the iterate with the smallest residual is returned.

    history: how many earlier differences Anderson acceleration mixes; 0 is the plain iteration. On the demo model it
        saves calls, and solves first steps at which g does not contract and the plain iteration does not arrive.
    """

    tolerance: float = 1e-5
    iterations: int = 20
    history: int = 3
    name: ClassVar[str] = "fixed_point"

    def check(self, parametrization: Parametrization) -> None:
        if self.iterations < 0 or self.tolerance < 0 or self.history < 0:
            raise ValueError("The iterations, the tolerance and the history of a fixed-point inversion cannot be "
                             "negative.")

    def ascend(self, velocity: Velocity, state: State, sigmas: list[float], index: int) -> Ascent:
        (source,), (s, t) = state, sigmas[index : index + 2]
        x = source + (t - s) * velocity(source, s, label=t)
        size = norms(source)  # (B,)
        best, residual = x.clone(), torch.full_like(size, torch.inf)
        taken = torch.zeros(len(x), dtype=torch.int64)
        active = torch.arange(len(x))  # rows still iterating
        iterates, changes = [], []  # (b, C, H, W) each, the latest last
        for iteration in range(self.iterations + 1):
            change = source[active] + (t - s) * velocity(x, t) - x
            missed = norms(change) / size[active]
            better = missed < residual[active]
            residual[active[better]], best[active[better]] = missed[better], x[better]
            going = missed > self.tolerance
            if iteration == self.iterations or not going.any():
                break
            active = active[going]
            iterates, changes = ([part[going] for part in (*kept[len(kept) - self.history :], latest)]
                                 for kept, latest in ((iterates, x), (changes, change)))
            x = anderson_step(iterates, changes)
            taken[active] += 1
        return Ascent((best,), residual, taken)


def anderson_step(iterates: list[Tensor], changes: list[Tensor]) -> Tensor:
    """The next iterate (B, ...) of x = g(x) from the last ones and their changes g(x) - x (Anderson 1965, type II).

    Of all mixtures of the iterates that sum to one it takes that whose mixed change is smallest, and adds that change.

    >>> x = torch.tensor([[0.0]]), torch.tensor([[1.0]])
    >>> anderson_step(list(x), [3 - 2 * x[0] - x[0], 3 - 2 * x[1] - x[1]])  # g(x) = 3 - 2 x, which does not contract
    tensor([[1.]])
    """
    x, change = iterates[-1], changes[-1]
    if len(iterates) == 1:
        return x + change
    moved, changed = (torch.stack([(b - a).flatten(1).double() for a, b in zip(parts, parts[1:])], 2)
                      for parts in (iterates, changes))  # (B, L, m)
    weights = torch.linalg.lstsq(changed, change.flatten(1).double()[..., None]).solution  # (B, m, 1)
    return x + change - ((moved + changed) @ weights).view_as(x).to(x)


def norms(x: Tensor) -> Tensor:
    """Norm of each row of (B, ...), (B,), never zero."""
    return x.flatten(1).norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
