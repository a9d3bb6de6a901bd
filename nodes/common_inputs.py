"""Inputs that several nodes share, word for word."""
from __future__ import annotations

from comfy_api.latest import io


def batch_size() -> io.Int.Input:
    return io.Int.Input("batch_size", default=0, min=0, max=4096, optional=True, advanced=True,
                        tooltip="Latents per model call. 0 chooses, and halves when memory runs out. The result does not depend on it.")


def resume() -> io.Boolean.Input:
    return io.Boolean.Input("resume", default=True, optional=True, advanced=True,
                            tooltip="Keep the state on disk and go on from it when the same graph is queued again after an interrupt or a crash.")
