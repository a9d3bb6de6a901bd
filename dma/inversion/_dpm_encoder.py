"""DPM-Encoder (arXiv 2210.05559): a picture as the noises with which stochastic sampling makes it.

With x = a x0 + b eps at every level (a = 1, b = sigma for eps and v models; a = 1 - sigma, b = sigma for flow) a step
of stochastic DDIM from level t down to s is

    x_s = a_s x0_hat + sqrt(b_s^2 - u^2) eps_hat + u n,   u = eta b_s sqrt(1 - r^2),   r = a_t b_s / (a_s b_t)

with x0_hat and eps_hat as the model predicts them at x_t (arXiv 2010.02502, equations 12 and 16; for flow the same law
at the same signal-to-noise ratios). Sampling draws n. Here a noisy path of the picture is drawn instead, x_1, ..., x_S
~ q(. | x0), without the model, and n is solved for at every step: the codes (n_1, ..., n_S, x_S) lead back to the
picture exactly, whatever the model, the prompt and the guidance. The same codes with another prompt or another model
are CycleDiffusion.

Codes are not standard normal noise: they hold what the model did not foresee. For an exact model of Gaussian data their
variance is 1 + k^2 P / u^2 with k = a_s - a_t sqrt(b_s^2 - u^2) / b_t and P the variance of x0 given x_t.
"""
from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..diffusion import Parametrization, starting_noise
from ..precision import in_double
from ._method import Ascent
from ._norms import nominal_norms, relative_distances
from ._state import State
from ._velocity import Velocity


@dataclass(frozen=True)
class DpmEncoder:
    """Exact inversion by stochastic sampling, at one model call a step.

    eta: the share of fresh noise, above 0 (where it would be plain DDIM, which has no codes) and at most 1 (DDPM). The
        smaller, the more of a picture lies in x_S and the longer the codes: what the model did not foresee is divided
        by less noise.
    seed: of the path's noise. It is the same for all pictures, so that none depends on its place in the batch.

    The path is rounded to fp32 and the codes are kept in fp64, so that on the way back the model is asked at the very
    latents of the way up: rounding does not grow, not even in a model of half precision. The last step, which has no
    noise to draw, is the deterministic one; its code is what that misses, in units of the level it comes from.

    The companion is (B, S + 1, C, H, W): the code of every step, from the last step of sampling to the first, and x_S.
    There is no way back without it, and a mixture of codes is none of a picture.
    """

    eta: float = 1.0
    seed: int = 0
    name: ClassVar[str] = "dpm_encoder"

    def check(self, parametrization: Parametrization) -> None:
        if not 0 < self.eta <= 1:
            raise ValueError(f"eta of DPM-Encoder is {self.eta}: it must be above 0 and at most 1.")

    def begin(self, clean: Tensor) -> State:
        clean = in_double(clean)
        return clean, clean

    def companion(self, state: State, clean: Tensor) -> Tensor:
        x, _, _, *codes = state
        return torch.stack([*codes, x], dim=1)

    def resume(self, latents: Tensor, companion: Tensor | None) -> State:
        """The state at the highest level: all of it is in the companion, `latents` are what it is found by."""
        if companion is None:
            raise ValueError("There is no way back from a DPM-Encoder without its codes: what is left is ordinary "
                             "noise.")
        x = companion[:, -1]
        return x, x, companion[:, :-1]

    def ascend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> Ascent:
        x, clean, *drawn = state  # then the noise of the path (B, C, H, W), and the codes of the steps before
        signal, deviation = _from_base(velocity.parametrization, levels[0], levels[index + 1])
        noise = in_double(starting_noise(1, tuple(x.shape[1:]), _seed_of_step(self.seed, index))).expand_as(x)
        if index:
            # Of the noise at two levels, cos is the correlation: a chain with the law of the steps down, drawn upwards.
            below, width = _from_base(velocity.parametrization, levels[0], levels[index])
            sin = self.eta * _share(signal * width, below * deviation)
            noise = math.sqrt(1 - sin**2) * drawn[0] + sin * noise
        upper = _rounded(signal * clean + deviation * noise)
        _, mean, scale = self._step(velocity, upper, levels, index + 1)
        code = (x - mean) / scale
        return Ascent((upper, clean, noise, *drawn[1:], code), relative_distances(_rounded(mean + scale * code), x),
                      code=torch.tensor(nominal_norms(code)))

    def descend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> State:
        x, _, codes = state
        clean, mean, scale = self._step(velocity, x, levels, index)
        return _rounded(mean + scale * codes[:, index - 1]), clean, codes

    def pointed_at(self, before: State, after: State) -> Tensor:
        """The clean latents that a step saw: the picture's on the way up, the prediction on the way down."""
        return after[1].float()

    def _step(self, velocity: Velocity, x: Tensor, levels: Sequence[float], index: int) -> tuple[Tensor, Tensor, float]:
        """The clean prediction at levels[index], the mean one level below, and the deviation u of the noise there."""
        s, t = levels[index - 1], levels[index]
        slope = velocity(x, t)
        clean = x - t * slope
        if index == 1:
            return clean, x + (s - t) * slope, t
        flow = velocity.parametrization is Parametrization.FLOW
        noise = x + (1 - t) * slope if flow else slope
        lower, upper = (1 - s, 1 - t) if flow else (1.0, 1.0)
        fresh = self.eta * _share(upper * s, lower * t)
        return clean, lower * clean + s * math.sqrt(1 - fresh**2) * noise, s * fresh


def _rounded(x: Tensor) -> Tensor:
    """x in fp64, rounded to fp32: what the model is asked at."""
    return in_double(x.float())


def _from_base(parametrization: Parametrization, base: float, level: float) -> tuple[float, float]:
    """Of x at a level given x at the lowest one, the factor of the latter and the standard deviation."""
    signal = (1 - level) / (1 - base) if parametrization is Parametrization.FLOW else 1.0
    return signal, math.sqrt(level**2 - (signal * base) ** 2)


def _share(part: float, whole: float) -> float:
    """sqrt(1 - r^2) with r = part / whole."""
    return math.sqrt(max(0.0, 1 - (part / whole) ** 2))


def _seed_of_step(seed: int, index: int) -> int:
    """A seed for each step, so that those of neighbouring seeds do not meet."""
    return int.from_bytes(hashlib.blake2b(f"dpm_encoder {seed} {index}".encode(), digest_size=7).digest(), "little")
