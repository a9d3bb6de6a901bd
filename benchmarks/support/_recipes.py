"""What pictures are made by: plain samples, averages by mean shift, and the settings of a preset."""
from __future__ import annotations

from typing import Any

from torch import Tensor

from mental_averages.dma.alignment import PRESETS, AlignmentSettings
from mental_averages.dma.diffusion import Denoiser, initial_latent, sample, starting_noise
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.mean_shift import (
    GUIDANCE_SHARE,
    MeanShift,
    MeanShiftSettings,
    Start,
    averaged_guidance,
    mean_shift,
    noise_for,
)

from ._demo_model import STEPS


def plain_samples(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], count: int, seed: int,
                  batch: int = 32) -> Tensor:
    """Final latents (count, C, H, W) of ordinary samples."""
    noise = starting_noise(count, shape, seed)
    return sample(denoiser, initial_latent(denoiser.parametrization, noise, sigmas[0].item()), sigmas,
                  batch=BatchSize(batch))


def preset_settings(preset: str, count: int, seed: int = 0, *, keep: int = 1, **further: Any) -> AlignmentSettings:
    """The settings of a preset for `keep` pictures out of `count` trajectories."""
    return PRESETS[preset].apply(AlignmentSettings(count=count, seed=seed, keep=keep, **further), STEPS)


def shifted_average(denoiser: Any, sigmas: Tensor, shape: tuple[int, ...], guidance: float, seed: int, *,
                    share: float = GUIDANCE_SHARE, noise: float | None = None, start: Start | None = None,
                    **settings: Any) -> MeanShift:
    """An average by mean shift as the node MentalAverage makes it, finished at a guidance."""
    restored = noise_for(guidance) if noise is None else noise
    return mean_shift(denoiser, sigmas, shape, MeanShiftSettings(seed=seed, restored_noise=restored, **settings),
                      batch=BatchSize(32), averaging=denoiser.with_guidance(averaged_guidance(guidance, share)),
                      start=start)
