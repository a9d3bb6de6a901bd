"""ComfyUI's progress bar with a preview, and log lines with the time left."""
from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ...dma.execution import PassMonitor, Progress, Watcher
from ._denoiser import is_video_shaped

SECONDS_BETWEEN_LOG_LINES = 10.0
TICKS = 1000


class ProgressReporter:
    """Shows the `Progress` events of one run of a node and stops it when the user interrupts."""

    def __init__(self, model: Any, title: str):
        self.title = title
        self.bar = comfy.utils.ProgressBar(TICKS)
        self.previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self.shown = functools.partial(as_shown, device=model.load_device, single_frame=is_video_shaped(model))
        self.started = self.last_line = time.monotonic()
        self.first_fraction: float | None = None

    def __call__(self, event: Progress) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        now = time.monotonic()
        if self.first_fraction is None:
            # A resumed run starts somewhere in the middle; only what is done from there tells the pace.
            self.first_fraction, self.started = event.fraction, now
        if now - self.last_line > SECONDS_BETWEEN_LOG_LINES:
            self.last_line = now
            logging.info("%s: %s, %s", self.title, event.message, self.time_left(event, now))
        preview = None
        if self.previewer is not None and event.preview is not None:
            preview = self.previewer.decode_latent_to_preview_image("JPEG", self.shown(event.preview))
        self.bar.update_absolute(int(TICKS * event.fraction), TICKS, preview)

    @property
    def shows_previews(self) -> bool:
        """Whether a preview would be seen; ComfyUI may be told to show none, and some models have no previewer."""
        return self.previewer is not None

    def time_left(self, event: Progress, now: float) -> str:
        if event.seconds_left is not None:
            left = event.seconds_left
        else:
            gained = event.fraction - self.first_fraction
            if gained <= 0:
                return "time left unknown"
            left = (now - self.started) * (1 - event.fraction) / gained
        return f"{'at most ' if event.at_most else ''}about {duration(left)} left"


def as_shown(latent: Tensor, device: torch.device, single_frame: bool) -> Tensor:
    """A latent (1, C, H, W) from anywhere as core's previewers take it: on the model's device, where TAESD is, and as a
    video of one frame (1, C, 1, H, W) where the model's latents are."""
    return (latent.unsqueeze(2) if single_frame and latent.ndim == 4 else latent).to(device)


def progress_bar() -> Callable[[Progress], None]:
    """Shows the share that is done, where nothing forms that could be previewed, and stops when the user interrupts."""
    bar = comfy.utils.ProgressBar(TICKS)

    def tell(progress: Progress) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(int(TICKS * progress.fraction), TICKS)

    return tell


def reading_pictures() -> list[Watcher]:
    """What watches pictures that are read once each."""
    return [PassMonitor(progress_bar(), "reading pictures", passes=1)]


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
