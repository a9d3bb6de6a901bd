"""The noise law of a MODEL: how its latents and predictions are to be read, and its levels, to the same bit wherever it
lies."""
from __future__ import annotations

import copy
import math
from typing import Any

import comfy.model_sampling
import torch
from torch import Tensor

from ...dma.diffusion import Parametrization

DIGITS = 6  # of a level by which samplings and runs are told apart; a machine may have its own last bits


def noise_law(model: Any) -> Any:
    """Core's model_sampling of a MODEL, on the CPU.

    Core moves it with the weights, and exponentials and logarithms of a card have other last bits: the levels of one
    schedule would be others in the first run after a start than in those that follow.
    """
    law = model.get_model_object("model_sampling")
    elsewhere = isinstance(law, torch.nn.Module) and any(
        tensor.device.type != "cpu" for tensor in (*law.buffers(), *law.parameters()))
    return copy.deepcopy(law).to("cpu") if elsewhere else law


def entering(model: Any, latents: Tensor, sigma: Tensor) -> Tensor:
    """The x of latents (N, C, H, W) that a sampler is handed at a noise level: for flow (1 - sigma) times them, for
    others they themselves, as core has it between two samplings that share a schedule."""
    return noise_law(model).noise_scaling(sigma, torch.zeros_like(latents), latents)


def leaving(model: Any, x: Tensor, sigma: Tensor) -> Tensor:
    """What a sampler that ends at a noise level hands on of x (N, C, H, W): the inverse of `entering`."""
    return noise_law(model).inverse_noise_scaling(sigma, x)


def levels_between(law: Any, start_percent: float, end_percent: float) -> tuple[float, float]:
    """The noise levels of a part of the samplings by core's model_sampling, the lower one first, both included.

    A part from the start on has no upper end: the table of a flow model whose schedule is shifted ends a rounding above
    what core calls its start, 1, where the first step is taken.
    """
    highest = math.inf if start_percent <= 0 else float(law.percent_to_sigma(start_percent))
    return float(law.percent_to_sigma(end_percent)), highest


def rounded_level(sigma: float) -> float:
    """A noise level as it is told apart from others.

    >>> rounded_level(14.614643)
    14.6146
    """
    return float(f"{sigma:.{DIGITS}g}")


def parametrization_of(model: Any) -> Parametrization:
    """How the MODEL's latents and predictions are to be read. Raises ValueError for noise laws that are not
    supported."""
    sampling = model.get_model_object("model_sampling")
    law, plain = type(sampling), comfy.model_sampling
    flow = isinstance(sampling, plain.CONST)
    known = law.noise_scaling is plain.CONST.noise_scaling if flow else law.calculate_input is plain.EPS.calculate_input
    if not known:
        # Core puts the class of a schedule, a module, and that of a law, which is none, together.
        name = next((base.__name__ for base in law.__mro__[:-1] if not issubclass(base, torch.nn.Module)), law.__name__)
        raise ValueError(f"The noise law {name} of this model is not supported: connect a model with eps, v or flow "
                         "prediction.")
    if flow and getattr(sampling, "noise_scale", 1.0) != 1.0:
        raise ValueError(f"This model scales its noise by {sampling.noise_scale:g} (noise_scale), which is not "
                         "supported: connect a model whose noise scale is 1.")
    if not flow and getattr(sampling, "sigma_data", 1.0) != 1.0:
        raise ValueError(f"This model is made for data of standard deviation {sampling.sigma_data:g} (sigma_data), "
                         "which is not supported: connect a model whose sigma_data is 1.")
    if flow:
        return Parametrization.FLOW
    return Parametrization.V if isinstance(sampling, plain.V_PREDICTION) else Parametrization.EPS
