"""Plain deterministic sampling in micro-batches."""
from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor

from ..execution import BatchSize, Event, Watcher, choose_batch, drive
from ._denoiser import Denoiser, tell
from ._latents import at_step, check_finite
from ._noise import noise_in, shell_norm
from ._schedule import check_falling
from ._spreading import spread


def sample(denoiser: Denoiser, latents: Tensor, sigmas: Tensor, *, batch: BatchSize | None = None,
           watchers: Sequence[Watcher] = ()) -> Tensor:
    """Follow the deterministic ODE from `sigmas[0]` down to `sigmas[-1]` with latents (K, C, H, W); on the CPU.

    Events are of the kind "predict", one for each micro-batch of each step. Raises ValueError for noise levels that do
    not fall, and, as NotFiniteError that names the step, where the model predicts NaN or infinity.

    >>> class Zero:
    ...     device = torch.device("cpu")
    ...     def denoise(self, x, sigma): return 0 * x
    >>> sample(Zero(), torch.ones(1, 1, 1, 1), torch.tensor([4.0, 2.0, 1.0])).item()
    0.25
    """
    check_falling(sigmas)
    return drive(sampling(denoiser, latents, sigmas.tolist(), choose_batch(batch, latents.shape[1:])), None, watchers)


def sampling(denoiser: Denoiser, latents: Tensor, sigmas: Sequence[float], batch: BatchSize,
             first: int = 0) -> Generator[Event, None, Tensor]:
    """The loop of `sample`, of which the steps before `first` are done."""
    for step in range(first, len(sigmas) - 1):
        with at_step(step + 1, len(sigmas) - 1):
            latents = yield from stepping(denoiser, latents, sigmas[step], sigmas[step + 1], batch)
    return latents


def stepping(denoiser: Denoiser, latents: Tensor, sigma: float, following: float,
             batch: BatchSize) -> Generator[Event, None, Tensor]:
    """One guided deterministic step of every latent (K, C, H, W) from one noise level to another; on the CPU.

    Raises NotFiniteError where it does not end in numbers.
    """
    stepped = torch.empty_like(latents, device="cpu")
    task = functools.partial(taking_step, sigma=sigma, following=following)
    for rows, (moved, denoised) in spread(denoiser, batch, len(latents), task, latents=latents):
        stepped[rows] = check_finite(moved.cpu(), "The latents predicted", sigma)
        tell(denoiser, sigma, following, rows, denoised, stepped)
        yield Event("predict", rows.stop - rows.start, rows.stop, len(latents), clean=denoised[:1])
    return stepped


def taking_step(denoiser: Denoiser, *, sigma: float, following: float) -> Callable[[slice, Tensor],
                                                                                  tuple[Tensor, Tensor]]:
    """What moves latents (b, C, H, W) one step, and says what it predicted."""
    def take(rows: slice, latents: Tensor) -> tuple[Tensor, Tensor]:
        x = latents.to(denoiser.device)
        denoised = denoiser.denoise(x, sigma)
        return deterministic_step(x, denoised, sigma, following), denoised

    return take


def restore_noise(denoiser: Denoiser, latents: Tensor, sigma: float, noise: Tensor, share: float,
                  *, batch: BatchSize | None = None) -> Tensor:
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

    parts = choose_batch(batch, latents.shape[1:]).over(len(latents), top_up)
    return check_finite(torch.cat([topped.cpu() for _, topped in parts]), "The latents with restored noise", sigma)


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
