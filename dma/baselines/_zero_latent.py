"""The cheapest rival of the mental average: one plain sample that starts from the mean of all noise, which is zero."""
from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from ..diffusion import Denoiser, initial_latent, sample, starting_noise
from ..execution import BatchSize, Progress


def zero_latent_sample(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], *, noise_scale: float = 0.0,
                       seed: int = 0, watchers: Iterable[Callable[[Progress], None]] = ()) -> Tensor:
    """The deterministic sample (1, C, H, W) that starts from noise_scale times the seed's first noise.

    sigmas: the noise levels (S + 1,), falling. shape: (C, H, W). noise_scale: 0 starts from zero, whatever the seed; 1
    is a plain sample. watchers: each hears a `Progress` after every step.
    """
    watchers, steps = tuple(watchers), len(sigmas) - 1
    noise = noise_scale * starting_noise(1, shape, seed)
    done = 0

    def after_step(count: int, denoised: Tensor) -> None:
        nonlocal done
        done += 1
        for watch in watchers:
            watch(Progress(done / steps, "sampling", denoised[:1]))

    start = initial_latent(denoiser.parametrization, noise, sigmas[0].item())
    return sample(denoiser, start, sigmas, BatchSize(1), after_step)
