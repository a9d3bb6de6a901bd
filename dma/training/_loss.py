"""The training loss of a diffusion model, from its prediction of the clean latent."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..diffusion import Parametrization, add_noise

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def denoising_loss(denoised: Tensor, clean: Tensor, sigma: Tensor, parametrization: Parametrization) -> Tensor:
    """The training loss (B,) of a network in its own terms, from its prediction `denoised` of x0; mean over elements.

    denoised, clean: (B, ...). sigma: (B,), positive. The noise itself cancels, because prediction and target are read
    off the same noisy latent x (see dma.diffusion):

        eps:   eps_hat - eps = ((x - x0_hat) - (x - x0)) / sigma    ->  |eps_hat - eps|^2 = |x0_hat - x0|^2 / sigma^2
        v:     x0 = x / (1 + sigma^2) - v sigma / sqrt(1 + sigma^2) ->  |v_hat - v|^2 = |x0_hat - x0|^2
                                                                                        (1 + sigma^2) / sigma^2
        flow:  x0 = x - sigma v                                     ->  |v_hat - v|^2 = |x0_hat - x0|^2 / sigma^2

    >>> denoising_loss(torch.full((1, 4), 3.0), torch.ones(1, 4), torch.tensor([2.0]), Parametrization.V)
    tensor([5.])
    """
    at_least_fp32 = torch.promote_types(denoised.dtype, torch.float32)
    error = (denoised.to(at_least_fp32) - clean.to(denoised.device, at_least_fp32)).square().flatten(1).mean(1)  # (B,)
    variance = sigma.to(error).square()
    return error / variance * (1 + variance if parametrization is Parametrization.V else 1)


def loss_on(clean: Tensor, parametrization: Parametrization, device: torch.device,
            denoise: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """The loss that `train` takes, of predictions x0_hat = denoise(x (B, C, H, W), sigma (B,)) on latents clean (N, C,
    H, W)."""
    def loss(rows: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        x0, noise, sigma = clean[rows].to(device), noise.to(device), sigma.to(device)
        x = add_noise(parametrization, x0, noise, sigma.view(-1, *[1] * (x0.ndim - 1)))
        return denoising_loss(denoise(x, sigma), x0, sigma, parametrization)

    return loss
