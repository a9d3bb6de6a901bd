"""Averages by mean shift over a grid of choices, each clean latent m computed once, for mean_shift.py."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from support import GUIDANCE, DemoModel, FeatureSpace, pairwise_distance, plain_samples, worth
from torch import Tensor

from mental_averages.dma.diffusion import add_noise, sample, start_scale, starting_noise
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.mean_shift import MeanShiftSettings, level_seed, mean_shift

PLAIN_SEED, SHARED_NOISE = 1000, 0x5EED


@dataclass(frozen=True)
class Point:
    """One choice: guidance of the averaged levels and in the end, levels, noises, restored noise, and whether noises
    come in pairs or are independent."""

    averaging: float
    finishing: float
    levels: int
    count: int = 32
    noise: float = 0.0
    pairs: bool = True


class Quality(NamedTuple):
    """Of one choice and concept. agreement is the distance between ensembles, and agreement and typical are relative to
    those of plain samples of the same guidance."""

    agreement: float
    typical: float
    sharpness: float
    brightness: float


def means(denoiser, sigmas: Tensor, shape: tuple[int, ...], averaging: float, levels: int, count: int, seed: int,
          pairs: bool) -> list[Tensor]:
    """m (1, C, H, W) after each of the first levels."""
    if not pairs:
        return independent_means(denoiser.with_guidance(averaging), sigmas.tolist(), shape, levels, count, seed)
    found = []

    def keep(event, state):
        if event.kind == "level":
            found.append(state.mean)

    mean_shift(denoiser, sigmas, shape, MeanShiftSettings(count, levels, seed), batch=BatchSize(32), watchers=[keep],
               averaging=denoiser.with_guidance(averaging))
    return found


def independent_means(denoiser, sigmas: list[float], shape: tuple[int, ...], levels: int, count: int,
                      seed: int) -> list[Tensor]:
    """The same with noises that have no partners, to see what pairs are worth."""
    found = []
    for step, sigma in enumerate(sigmas[:levels]):
        noise = starting_noise(count, shape, level_seed(seed, step))
        x = (add_noise(denoiser.parametrization, found[-1], noise, sigma) if found
             else start_scale(denoiser, sigma) * noise)
        found.append(torch.cat([denoiser.denoise(part, sigma) for part in x.split(32)]).mean(0, keepdim=True))
    return found


def pictures(demo: DemoModel, concept: str, points: Sequence[Point], repetitions: int, *, steps: int,
             scheduler: str) -> dict[Point, Tensor]:
    """The pictures (R, H, W, 3) of each choice."""
    def run(denoiser, sigmas):
        shared = starting_noise(1, demo.shape, SHARED_NOISE)
        walks = {}
        for walk in sorted({(point.averaging, point.count, point.pairs) for point in points}):
            averaging, count, pairs = walk
            most = max(point.levels for point in points if (point.averaging, point.count, point.pairs) == walk)
            walks[walk] = [torch.cat(level) for level in zip(*(
                means(denoiser, sigmas, demo.shape, averaging, most, count, seed, pairs)
                for seed in range(repetitions)))]
        found = {}
        for levels, finishing in sorted({(point.levels, point.finishing) for point in points}):
            chosen = [point for point in points if (point.levels, point.finishing) == (levels, finishing)]
            starts = torch.cat([add_noise(
                denoiser.parametrization, walks[point.averaging, point.count, point.pairs][levels - 1],
                point.noise * shared, sigmas[levels].item()) for point in chosen])
            ends = sample(denoiser.with_guidance(finishing), starts, sigmas[levels:], batch=BatchSize(32))
            found |= dict(zip(chosen, demo.decode(ends).split(repetitions)))
        return found

    return demo.with_denoiser(concept, GUIDANCE, run, layer=None, gradients=False, steps=steps, scheduler=scheduler)


def plain_pictures(demo: DemoModel, concept: str, guidance: float, count: int, **schedule) -> Tensor:
    return demo.decode(demo.with_denoiser(concept, guidance, lambda denoiser, sigmas: plain_samples(
        denoiser, sigmas, demo.shape, count, PLAIN_SEED), layer=None, gradients=False, **schedule))


def qualities(judge: FeatureSpace, found: dict[Point, Tensor], plain: dict[float, Tensor]) -> dict[Point, Quality]:
    """The quality of each choice beside plain pictures by guidance."""
    reference = {guidance: judge(rows) for guidance, rows in plain.items()}
    apart = {guidance: pairwise_distance(features) for guidance, features in reference.items()}
    measured = {}
    for point, rows in found.items():
        near = worth(rows, judge(rows), plain[point.finishing], reference[point.finishing])
        # A plain sample's distance to the others, without itself.
        measured[point] = Quality(near.consistency / apart[point.finishing],
                                  near.representativeness / apart[point.finishing], near.sharpness, near.brightness)
    return measured
