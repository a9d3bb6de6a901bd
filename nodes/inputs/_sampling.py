"""Inputs that several nodes share, word for word."""
from __future__ import annotations

from comfy_api.latest import io

from .. import comfyui


def batch_size() -> io.Int.Input:
    return io.Int.Input("batch_size", default=0, min=0, max=4096, optional=True, advanced=True,
                        tooltip="Latents per model call. 0 chooses, and halves when memory runs out. The result does "
                                "not depend on it.")


def resume() -> io.Boolean.Input:
    return io.Boolean.Input("resume", default=True, optional=True, advanced=True,
                            tooltip="Keep the state on disk and go on from it when the same graph is queued again "
                                    "after an interrupt or a crash.")


def concept() -> io.Conditioning.Input:
    return io.Conditioning.Input("positive", tooltip="The concept, for example 'a photo of a castle'.")


def negative() -> io.Conditioning.Input:
    return io.Conditioning.Input("negative", tooltip="What guidance leads away from; an empty prompt is fine.")


def latent_size() -> io.Latent.Input:
    return io.Latent.Input("latent_image",
                           tooltip="Gives the size only. Use Empty Latent Image at the model's own resolution.")


def steps() -> io.Int.Input:
    return io.Int.Input("steps", default=20, min=1, max=1000, tooltip="Sampling steps.")


def scheduler(tooltip: str = "Noise levels. ddim_uniform with 20 steps is the paper's schedule.") -> io.Combo.Input:
    return io.Combo.Input("scheduler", options=comfyui.schedulers(), default="ddim_uniform", tooltip=tooltip)


NOISE_SEED = "Seed of all starting noise. The same seed in a KSampler with a batch of K starts from the same noise."


def seed(tooltip: str = NOISE_SEED) -> io.Int.Input:
    """It stays as it is after a run: work that was interrupted goes on only with the same seed."""
    return io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, tooltip=tooltip,
                        control_after_generate=io.ControlAfterGenerate.fixed)
