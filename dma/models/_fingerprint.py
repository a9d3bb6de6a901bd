"""What tells models apart."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..diffusion import Denoiser, starting_noise

FINGERPRINT_VALUES = 1024


def fingerprint(denoiser: Denoiser, levels: Sequence[float], shape: tuple[int, ...], *,
                features_at: Sequence[float] = ()) -> Tensor:
    """What a model answers to fixed noise of `shape` (C, H, W): tells apart models, patches and ControlNets.

    It is asked for its prediction at each of the noise levels `levels`, and for its features at each of `features_at`:
    a patch may act at one of them alone, so they should be all that a run uses. Of each answer a sketch of
    `FINGERPRINT_VALUES` numbers is kept, a row of the result (rows, FINGERPRINT_VALUES) on the CPU. The distance of two
    answers is that of their sketches but for a relative error of some 3 %, so that no part of a picture goes unseen.
    """
    noise = starting_noise(1, shape, seed=0).to(denoiser.device)
    rows = []
    with torch.no_grad():
        for ask, asked in ((denoiser.denoise, levels), (denoiser.features, features_at)):
            rows += [_sketch(ask(sigma * noise, sigma).flatten().float().cpu()) for sigma in asked]
    return torch.stack(rows)


def _sketch(values: Tensor) -> Tensor:
    """Values (n,) added up with random signs in random places (FINGERPRINT_VALUES,), the same ones for the same n.

    This is the count sketch (Charikar, Chen, Farach-Colton, 2002), which keeps distances as random projections do.
    """
    generator = torch.Generator().manual_seed(len(values))
    places = torch.randint(FINGERPRINT_VALUES, (len(values),), generator=generator)
    signs = torch.randint(2, (len(values),), generator=generator) * 2 - 1
    return torch.zeros(FINGERPRINT_VALUES).index_add(0, places, signs * values)
