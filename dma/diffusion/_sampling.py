"""Plain deterministic sampling in micro-batches."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..execution import BatchSize
from ._denoiser import Denoiser
from ._noise import noise_in, shell_norm


def step_all(denoiser: Denoiser, latents: Tensor, sigma: float, sigma_next: float, *,
             batch: BatchSize | None = None,
             after_batch: Callable[[int, Tensor], None] = lambda count, denoised: None) -> Tensor:
    """Take one guided deterministic step with every latent (K, C, H, W); the result is on the CPU.

    `batch` None chooses the micro-batch. `after_batch` hears of each finished one: how many latents it held, and their
    clean predictions.
    """
    def take(rows: slice) -> tuple[Tensor, Tensor]:
        x = latents[rows].to(denoiser.device)
        denoised = denoiser.denoise(x, sigma)
        return deterministic_step(x, denoised, sigma, sigma_next), denoised

    stepped, batch = torch.empty_like(latents, device="cpu"), batch or _automatic(latents)
    for rows, (moved, denoised) in batch.over(len(latents), take):
        stepped[rows] = moved.cpu()
        after_batch(rows.stop - rows.start, denoised)
    return stepped


def sample(denoiser: Denoiser, latents: Tensor, sigmas: Tensor, *, batch: BatchSize | None = None,
           after_batch: Callable[[int, Tensor], None] = lambda count, denoised: None) -> Tensor:
    """Follow the deterministic ODE down the schedule `sigmas` (S + 1,) with latents (K, C, H, W).

    `batch` and `after_batch` are those of `step_all`.

    >>> class Zero:
    ...     device = torch.device("cpu")
    ...     def denoise(self, x, sigma): return 0 * x
    >>> sample(Zero(), torch.ones(1, 1, 1, 1), torch.tensor([4.0, 2.0, 1.0])).item()
    0.25
    """
    batch = batch or _automatic(latents)
    for sigma, sigma_next in zip(sigmas[:-1].tolist(), sigmas[1:].tolist()):
        latents = step_all(denoiser, latents, sigma, sigma_next, batch=batch, after_batch=after_batch)
    return latents


def restore_noise(denoiser: Denoiser, latents: Tensor, sigma: float, noise: Tensor, share: float, *,
                  batch: BatchSize | None = None) -> Tensor:
    """Top up latents (K, C, H, W) whose noise has become too small for their noise level, on the CPU.

    Averaging cancels noise: the noise n that a latent still carries, by the model's own prediction, may be far below
    the norm sqrt(L) that the model was trained on, and what is missing comes out as lack of detail. The same `noise`
    (1, C, H, W) is added to all latents, so that those that agree go on agreeing:

        x <- x + sigma * share * sqrt(max(0, 1 - |n|^2 / L)) * noise

    share 0 changes nothing; share 1 restores the nominal norm in expectation.
    """
    def top_up(rows: slice) -> Tensor:
        x = latents[rows].to(denoiser.device)
        present = noise_in(denoiser.parametrization, x, denoiser.denoise(x, sigma), sigma)
        relative = present.flatten(1).norm(dim=1) / shell_norm(x)  # (b,)
        missing = (1 - relative.square()).clamp_min(0).sqrt()
        return x + sigma * share * missing[:, None, None, None] * noise.to(x)

    batch = batch or _automatic(latents)
    return torch.cat([topped.cpu() for _, topped in batch.over(len(latents), top_up)])


def _automatic(latents: Tensor) -> BatchSize:
    return BatchSize.automatic(latents[0].numel())


def deterministic_step(x: Tensor, denoised: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """One step of the probability-flow ODE between two noise levels.

    x' = x + (sigma' - sigma) (x - x0) / sigma, which is deterministic DDIM for eps and v models and Euler for flow.
    Towards a higher noise level it is explicit DDIM inversion; sigma itself must not be zero.
    """
    if sigma <= 0:
        raise ValueError("A deterministic step starts from a positive noise level; sigma was 0.")
    return x + (sigma_next - sigma) / sigma * (x - denoised)


def clean_estimate(x: Tensor, other: Tensor, sigma: float, sigma_other: float) -> Tensor:
    """The clean latent that a deterministic step from `x` to `other` points at: x - sigma dx/dsigma."""
    return (x - sigma * (other - x) / (sigma_other - sigma)).float()
