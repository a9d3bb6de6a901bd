"""Plain deterministic sampling in micro-batches."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .batching import BatchSize
from .denoiser import Denoiser
from .diffusion import deterministic_step


def step_all(denoiser: Denoiser, latents: Tensor, sigma: float, sigma_next: float, batch: BatchSize,
             after_batch: Callable[[int, Tensor], None] = lambda count, denoised: None) -> Tensor:
    """Take one guided deterministic step with every latent (K, C, H, W); the result is on the CPU.

    `after_batch` hears of each finished batch: how many latents it held, and their clean predictions.
    """
    stepped = torch.empty_like(latents, device="cpu")
    done = 0
    while done < len(latents):
        def take(rows: slice) -> tuple[Tensor, Tensor]:
            x = latents[rows].to(denoiser.device)
            denoised = denoiser.denoise(x, sigma)
            return deterministic_step(x, denoised, sigma, sigma_next), denoised

        rows, (moved, denoised) = batch.run(done, len(latents), take)
        stepped[rows] = moved.cpu()
        done = rows.stop
        after_batch(rows.stop - rows.start, denoised)
    return stepped


def sample(denoiser: Denoiser, latents: Tensor, sigmas: Tensor, batch: BatchSize,
           after_batch: Callable[[int, Tensor], None] = lambda count, denoised: None) -> Tensor:
    """Follow the deterministic ODE from `sigmas[0]` to `sigmas[-1]` with latents (K, C, H, W)."""
    for sigma, sigma_next in zip(sigmas[:-1].tolist(), sigmas[1:].tolist()):
        latents = step_all(denoiser, latents, sigma, sigma_next, batch, after_batch)
    return latents
