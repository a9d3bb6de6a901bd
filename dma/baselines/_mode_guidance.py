"""MGD3: samples whose every step is drawn towards a mode, a centroid of latents."""
from __future__ import annotations

import math
from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from ..diffusion import (
    Denoiser,
    add_noise,
    at_step,
    check_falling,
    check_finite,
    check_latents,
    noise_in,
    start_scale,
)
from ..execution import BatchSize, Event, Watcher, choose_batch, drive

# What the authors' scripts say; of guidance, that for Stable Diffusion (4 for class-conditional DiT).
MODE_GUIDANCE = 0.1
GUIDED_SHARE = 0.5
MGD3_GUIDANCE = 8.0
MGD3_STEPS = 50


def mode_guided_samples(denoiser: Denoiser, sigmas: Tensor, modes: Tensor, *, strength: float = MODE_GUIDANCE,
                        guided_share: float = GUIDED_SHARE, seed: int = 0, batch: BatchSize | None = None,
                        watchers: Sequence[Watcher] = ()) -> Tensor:
    """MGD3's pictures (n, C, H, W), one guided to each of the modes (n, C, H, W); on the CPU.

    Chan-Santiago et al., *MGD3: Mode-Guided Dataset Distillation using Diffusion Models* (arXiv 2505.18963): ancestral
    sampling (DDPM), in which the mean of each step is moved towards the mode m in the first half of the schedule,

        x' = mu + strength s (m - x0) + s eps

    with the predicted clean latent x0 and s the standard deviation of the noise eps of that step. The authors' code has
    -(x0 - m) strength exp(log_variance / 2), which is this; the paper writes it as added to the predicted noise, which
    taken at its word would lead away from the mode. Stop guidance: the code guides while the time step is above 25 of
    50, or 500 of 1000; the last steps are the model's own.

    In the units here, x = a x0 + b eps with a = 1, b = sigma for eps and v models, where this is the code's step for
    the step's smallest variance (`fixed_small`):

        mu = a' x0 + b' r e,   s = b' sqrt(1 - r^2),   r = (b' / a') / (b / a),   e the predicted noise

    and the same for flow models, a = 1 - sigma and b = sigma, whose signal-to-noise ratios define an ancestral step as
    well. s grows with the length of a step, so that all steps together guide with about sqrt(S): a strength is one for
    a number of steps.

    sigmas: the noise levels (S + 1,), falling to 0; the first guided_share of the steps are guided. The first noise is
    that of `starting_noise` with this seed, of which each row belongs to one mode.

    What is a guess: the step's variance, which DiT learns between `fixed_small` and a little more; mode guidance on a
    flow model; and how the mental-average paper ran MGD3. Here one centroid of the samples stands for a concept.

    Raises ValueError for a strength that is not finite, a guided_share outside 0 ... 1, noise levels that do not fall
    and modes that are not finite; and, as NotFiniteError that names the step, where the model predicts NaN or infinity.

    >>> from mental_averages.dma.diffusion import Parametrization
    >>> class Constant:
    ...     parametrization, device = Parametrization.EPS, torch.device("cpu")
    ...     def denoise(self, x, sigma): return torch.full_like(x, 3.0)
    >>> mode_guided_samples(Constant(), torch.tensor([9.0, 3.0, 1.0, 0.0]), torch.zeros(1, 1, 1, 1)).item()
    3.0
    """
    if not math.isfinite(strength):
        raise ValueError(f"strength is {strength}: it must be a finite number ({MODE_GUIDANCE} is the authors').")
    if not 0 <= guided_share <= 1:
        raise ValueError(f"guided_share is {guided_share}: it must lie between 0 (no step) and 1 (every step).")
    check_falling(sigmas)
    check_latents(modes)
    return drive(_guiding(denoiser, sigmas.tolist(), modes.detach().cpu().float(), strength,
                          round(guided_share * (len(sigmas) - 1)), torch.Generator("cpu").manual_seed(seed),
                          choose_batch(batch, modes.shape[1:])), None, watchers)


def _guiding(denoiser: Denoiser, sigmas: Sequence[float], modes: Tensor, strength: float, guided_steps: int,
             generator: torch.Generator, batch: BatchSize) -> Generator[Event, None, Tensor]:
    latents = start_scale(denoiser, sigmas[0]) * torch.randn(modes.shape, generator=generator)
    for step, (sigma, following) in enumerate(zip(sigmas, sigmas[1:])):
        # Drawn for all rows at once, so that the result does not depend on the batch.
        noise = torch.randn(modes.shape, generator=generator)
        with at_step(step + 1, len(sigmas) - 1):
            latents = yield from _guided_step(denoiser, latents, modes, noise, sigma, following,
                                              strength if step < guided_steps else 0.0, batch)
    return latents


def _guided_step(denoiser: Denoiser, latents: Tensor, modes: Tensor, noise: Tensor, sigma: float, following: float,
                 strength: float, batch: BatchSize) -> Generator[Event, None, Tensor]:
    def take(rows: slice) -> tuple[Tensor, Tensor]:
        x = latents[rows].to(denoiser.device)
        clean = denoiser.denoise(x, sigma)
        mean, deviation = ancestral_step(denoiser, x, clean, sigma, following)
        pull = strength * (modes[rows].to(x) - clean) if strength else 0.0
        return mean + deviation * (pull + noise[rows].to(x)), clean

    moved = torch.empty_like(latents)
    for rows, (found, clean) in batch.over(len(modes), take):
        moved[rows] = check_finite(found.cpu(), "The latents predicted", sigma)
        yield Event("predict", rows.stop - rows.start, rows.stop, len(modes), clean=clean[:1])
    return moved


def ancestral_step(denoiser: Denoiser, x: Tensor, clean: Tensor, sigma: float,
                   following: float) -> tuple[Tensor, float]:
    """Mean (B, C, H, W) and standard deviation of the DDPM step between two noise levels, of latents x (B, C, H, W)
    whose clean latents are predicted."""
    law, one, none = denoiser.parametrization, torch.ones(()), torch.zeros(())
    signal, signal_next = (add_noise(law, one, none, level).item() for level in (sigma, following))
    correlation = following * signal / (signal_next * sigma)
    predicted = noise_in(law, x, clean, sigma)
    return (add_noise(law, clean, correlation * predicted, following),
            following * math.sqrt(max(0.0, 1 - correlation**2)))
