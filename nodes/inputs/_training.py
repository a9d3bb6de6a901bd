"""What nodes that train share: inputs and outputs, checks, the state's fingerprint, preview samples."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...dma import diffusion
from ...dma.diffusion import NotFiniteError
from ...dma.execution import BatchSize, RunState, choose_batch
from .. import comfyui
from ..comfyui import finite
from ._sockets import REPORT

PREVIEW_STEPS = 10
NO_PREVIEW = ("This is the preview after training step {}: lower learning_rate or choose a higher precision. What has "
              "been trained so far is kept where resume is on.")
ASKED_LEVELS = 32


def mode_latents() -> io.Latent.Input:
    return io.Latent.Input("latents",
                           tooltip="The latents of one mode, such as those that SelectMode picks out of the samples. "
                                   "Pictures have to be encoded by the model's own VAE.")


def training_steps(default: int) -> io.Int.Input:
    return io.Int.Input("steps", default=default, min=1, max=100000,
                        tooltip="Training steps. When this is raised, the training goes on from where it ended.")


def learning_rate_of_training(default: float) -> io.Float.Input:
    return io.Float.Input("learning_rate", default=default, min=1e-7, max=1.0, step=1e-7, round=False,
                          tooltip="AdamW's learning rate.")


def lora_target(**options: bool) -> io.Combo.Input:
    return io.Combo.Input("target", options=list(comfyui.NAMES), default=comfyui.ATTENTION, optional=True,
                          **options,
                          tooltip="Which layers of the model's blocks are changed: those around attention, these and "
                                  "the feed-forward layers, or all of them.")


def training_batch_size() -> io.Int.Input:
    return io.Int.Input("batch_size", default=1, min=1, max=1024, optional=True, advanced=True,
                        tooltip="Latents per step. They are split into several passes when memory runs out; the result "
                                "does not depend on that.")


def rows_of_a_pass(batch_size: int, shape: tuple[int, ...]) -> int:
    """How many latents (C, H, W) of a step a pass takes at first: larger steps are split."""
    return min(batch_size, choose_batch(None, shape).value)


def training_records() -> list[io.Output]:
    """The outputs that tell how a training went."""
    return [io.LossMap.Output("loss", display_name="loss", tooltip="The loss of every step, for Plot Loss Graph."),
            REPORT.Output("report", display_name="report",
                          tooltip="Settings, losses and time, for PlotReport and SaveReport.")]


def saved_training(key: str, denoiser: Any, levels: Tensor, shape: tuple[int, ...]) -> RunState:
    """Where the training `key` on this model has its state; `levels` are all noise levels, rising.

    A training draws from all of them, and the model is asked at `ASKED_LEVELS` spread over them.
    """
    chosen = torch.linspace(0, len(levels) - 1, min(ASKED_LEVELS, len(levels))).round().long()
    return comfyui.saved_run(key, denoiser, levels[chosen].flip(0).tolist(), shape)


def check_training_latents(samples: Tensor) -> None:
    """Raise ValueError for latents that there is nothing to learn from."""
    empty = [row for row, latent in enumerate(finite(samples, "The input latents")) if not latent.any()]
    if empty:
        raise ValueError(f"Latent {empty[0]} of {len(samples)} is empty (all zero): connect the latents of samples or "
                         "of encoded pictures, not an Empty Latent Image.")


def previewing(model: Any, denoiser: Any, shape: tuple[int, ...], seed: int,
               interval: int) -> Callable[[int], Tensor | None]:
    """Gives a sample (1, C, H, W) of the model as it is after every `interval` training steps, always from the same
    noise."""
    sigmas = comfyui.sigmas_of(model, "normal", PREVIEW_STEPS)

    def preview(done: int) -> Tensor | None:
        if not interval or done % interval:
            return None
        with comfyui.advising(NO_PREVIEW.format(done), NotFiniteError):
            return diffusion.draw_samples(denoiser, sigmas, shape, 1, seed, batch=BatchSize(1))

    return preview
