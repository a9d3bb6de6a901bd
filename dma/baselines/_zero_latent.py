"""The cheapest rival of the mental average: one plain sample that starts from the mean of all noise, which is zero."""
from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..diffusion import Denoiser, check_falling, sample, start_scale, starting_noise
from ..execution import BatchSize, Watcher


def zero_latent_sample(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], *, noise_scale: float = 0.0,
                       seed: int = 0, watchers: Sequence[Watcher] = ()) -> Tensor:
    """The deterministic sample (1, C, H, W) that starts from noise_scale times the seed's first noise.

    sigmas: the noise levels (S + 1,), falling. shape: (C, H, W). noise_scale: 0 starts from zero, whatever the seed; 1
    is a plain sample. watchers: those of `diffusion.sample`, which also says what is raised.
    """
    check_falling(sigmas)
    noise = noise_scale * starting_noise(1, shape, seed)
    start = start_scale(denoiser, sigmas[0].item()) * noise
    return sample(denoiser, start, sigmas, batch=BatchSize(1), watchers=watchers)
