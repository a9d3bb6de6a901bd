"""Plain samples of a prompt, kept on disk while they are drawn and after."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ...dma import diffusion, execution
from .. import comfyui
from ..comfyui import checkpoints

# Part of the key of every saved run. Raise the number when one of the same settings gives other samples than before.
ALGORITHM = "plain samples 1"


def drawn(sampling: tuple, count: int, batch: execution.BatchSize | None, tell: Callable[[execution.Progress], None], *,
          resume: bool) -> tuple[Tensor, float]:
    """Samples (count, C, H, W) of one prompt, and the seconds that went into what was found of them.

    sampling: MODEL, positive, negative, guidance, sigmas, shape, seed.
    """
    model, positive, negative, cfg, sigmas, shape, seed = sampling
    place = None
    if resume:
        # The prompt itself is behind this key, so that none of the states of one list is cleaned away for another's.
        key = comfyui.run_key(model, ALGORITHM, {"shape": list(shape), "guidance_scale": cfg, "count": count,
                                                 "seed": seed, "sigmas": sigmas.tolist()}, {"negative": negative})
        own = f"{key}-{comfyui.run_key(model, ALGORITHM, {}, {'positive': positive})[:16]}"
        # In a sampling of its own: it goes down the schedule, from where keyframes of hooks never come back.
        place = dataclasses.replace(comfyui.with_denoiser(
            *sampling, lambda denoiser: comfyui.saved_run(key, denoiser, sigmas[:-1].tolist(), shape),
            layer=None, gradients=False), key=own)
    state = comfyui.resumed("Samples", diffusion.SamplesState.unpacked, place)
    before = state.seconds if state else 0.0
    monitor = execution.PassMonitor(tell, "sampling", len(sigmas) - 1, ended=state.step if state else 0)

    def draw(denoiser: Any) -> Tensor:
        return diffusion.draw_samples(denoiser, sigmas, shape, count, seed, batch=batch,
                                      watchers=[*checkpoints(place), monitor], state=state)

    return comfyui.with_denoiser(*sampling, draw, layer=None, gradients=False,
                                 at_once=0 if batch is None else min(batch.value, count)), before
