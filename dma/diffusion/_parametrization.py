"""Noise laws and parametrisations.

Latents follow one of two noise laws, told apart by the parametrisation of the model:

    eps, v:  x = x0 + sigma * eps            sigma = sqrt((1 - abar) / abar), 0 ... about 14.6 for Stable Diffusion 1.5
    flow:    x = (1 - sigma) * x0 + sigma * eps                               sigma = t in 0 ... 1

Papers on eps and v models state learning rates and norms for z = sqrt(abar) x0 + sqrt(1 - abar) eps, which is
x / sqrt(1 + sigma^2); `paper_scale` is that factor.
"""
from __future__ import annotations

import enum
import math

from torch import Tensor


class Parametrization(enum.Enum):
    """What the network predicts: the noise, the velocity of a variance-preserving process, or that of a flow."""

    EPS = "eps"
    V = "v"
    FLOW = "flow"


def paper_scale(parametrization: Parametrization, sigma: float) -> float:
    """Factor from a latent as it is carried here to the units of the papers: z = factor * x.

    >>> round(paper_scale(Parametrization.EPS, 14.6146), 5)
    0.06827
    """
    if parametrization is Parametrization.FLOW:
        return 1.0
    return 1.0 / math.sqrt(1.0 + sigma * sigma)


def denoised_from_output(parametrization: Parametrization, output: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The clean latent x0 that a network's raw `output` at latent `x` stands for.

    eps:  x0 = x - sigma * eps
    v:    x0 = x / (1 + sigma^2) - v * sigma / sqrt(1 + sigma^2)
    flow: x0 = x - sigma * v
    """
    if parametrization is Parametrization.V:
        scale = paper_scale(parametrization, sigma)
        return x * scale**2 - output * sigma * scale
    return x - sigma * output
