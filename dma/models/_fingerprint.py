"""What tells models apart."""
from __future__ import annotations

import torch
from torch import Tensor

from ..diffusion import Denoiser, starting_noise

FINGERPRINT_VALUES = 2048


def fingerprint(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], *, features: bool = True,
                thinned: bool = True) -> Tensor:
    """What a model answers to fixed noise of `shape` (C, H, W): tells apart models, patches and ControlNets.

    It is asked at the highest of the noise levels `sigmas`, which fall, and half way down. The answers (n,) on the CPU
    are its features, where `features` are asked for, and its predictions; `thinned`, they are some 2048 to 4096 numbers
    spread evenly over them.
    """
    noise = starting_noise(1, shape, seed=0).to(denoiser.device)
    answers = []
    for sigma in (sigmas[0].item(), sigmas[(len(sigmas) - 1) // 2].item()):
        with torch.no_grad():
            if features:
                answers.append(denoiser.features(sigma * noise, sigma).flatten())
            answers.append(denoiser.denoise(sigma * noise, sigma).flatten())
    together = torch.cat(answers).cpu()
    return together[:: max(1, len(together) // FINGERPRINT_VALUES)].clone() if thinned else together
