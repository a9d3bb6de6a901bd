"""Noise levels from a scheduler or from connected sigmas."""
from __future__ import annotations

from typing import Any

from torch import Tensor

from ...dma import diffusion
from .. import comfyui


def schedule(model: Any, scheduler: str, steps: int, sigmas: Tensor | None) -> Tensor:
    """Noise levels (S + 1,), falling, each once. Raises ValueError unless they are monotone and such as the MODEL
    has."""
    if sigmas is None:
        return comfyui.sigmas_of(model, scheduler, steps)
    with comfyui.advising(comfyui.ORDINARY_SIGMAS):
        levels = diffusion.falling(diffusion.distinct_levels(sigmas.float().cpu()))
        diffusion.check_levels(levels, comfyui.parametrization_of(model))
        return levels
