"""What an inversion measured: a typed record that saves to JSON."""
from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..precision import in_double
from ..records import Record

HIGHEST_PSNR = 200.0


@dataclass(frozen=True)
class InvertedStep:
    """One step up to noise level `sigma`. Every list has one value per latent, or is empty where nothing was
    measured."""

    sigma: float
    residual: list[float]  # |x_s(x_t) - x_s| / |x_s|: what a step back from the new latent misses
    iterations: list[int]  # corrections of an iterative method
    norm: list[float]  # of the latent in the papers' units, over sqrt(L)
    code: list[float] = field(default_factory=list)  # norm of the code of a stochastic step, over sqrt(L)


@dataclass(frozen=True)
class RoundTrip:
    """The clean latents against those that come back; one value per latent."""

    mse: list[float]  # mean squared error in the model's units
    psnr: list[float]  # dB, with the latent's own range (largest minus smallest value) as the peak
    relative: list[float]  # norm of the difference over the norm of the latent


@dataclass(frozen=True)
class InversionReport(Record):
    """The settings of an inversion, one record per step, and the error of the round trip where it was measured."""

    FORMAT = "mental-averages/inversion-report"
    VERSION = 2  # 2 added the norms of codes
    NAME = "a report of an inversion"

    settings: dict
    steps: list[InvertedStep]
    round_trip: RoundTrip | None = None
    calls: float = 0.0  # model predictions per latent for the inversion itself, measuring not counted
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)


def round_trip_error(clean: Tensor, restored: Tensor) -> RoundTrip:
    """Compare latents (B, C, H, W) with those that came back. PSNR ends at 200 dB, where they are the same.

    >>> error = round_trip_error(torch.tensor([[0.0, 2.0]]), torch.tensor([[0.2, 2.0]]))
    >>> round(error.psnr[0], 2)  # 10 log10(2^2 / 0.02)
    23.01
    """
    clean, restored = (in_double(latents).flatten(1) for latents in (clean, restored))
    mse = (clean - restored).square().mean(1)  # (B,)
    peak = (clean.amax(1) - clean.amin(1)).clamp_min(torch.finfo(torch.float32).tiny)
    psnr = 10 * (peak.square() / mse.clamp_min(torch.finfo(torch.float64).tiny)).log10()
    relative = mse.sqrt() / clean.square().mean(1).sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    return RoundTrip(mse.tolist(),
                     [value if math.isnan(value) else min(value, HIGHEST_PSNR) for value in psnr.tolist()],
                     relative.tolist())
