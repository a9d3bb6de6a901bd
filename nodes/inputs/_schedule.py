"""Noise levels from a scheduler or from connected sigmas."""
from __future__ import annotations

from typing import Any

from torch import Tensor

from ...dma import diffusion
from .. import comfyui


def schedule(model: Any, scheduler: str, steps: int, sigmas: Tensor | None) -> Tensor:
    """Noise levels (S + 1,), falling. Raises ValueError unless they are strictly monotone."""
    levels = comfyui.sigmas_of(model, scheduler, steps) if sigmas is None else sigmas.float().cpu()
    with comfyui.advising(comfyui.ORDINARY_SIGMAS):
        return diffusion.falling(levels)
