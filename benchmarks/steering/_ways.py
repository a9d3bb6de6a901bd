"""Three ways to more variety of a concept's samples, for typicality.py: a push away from the average, another guidance,
and noise on the prompt."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from support import GUIDANCE as CFG, SCHEDULER, STEPS, DemoModel, on_model, plain_samples, shifted_average
from torch import Tensor

import pack
from mental_averages.dma.diffusion import initial_latent, sample, starting_noise
from mental_averages.dma.execution import BatchSize

PUSH, GUIDANCE, NOISE = "push", "guidance", "noise on the prompt"
SEED, NOISE_SEED = 4242, 1
PUSHED_STEPS, END_PERCENT = 8, 0.4  # the steps that a push and the noise act on


@dataclass(frozen=True)
class Way:
    """A way and how much of it: the strength of the push, the guidance scale, or the noise as a share of the standard
    deviation of the prompt's embedding."""

    kind: str
    amount: float


def average_of(demo: DemoModel, concept: str) -> Tensor:
    """The average (1, C, H, W), as the node MentalAverage makes it."""
    return demo.with_denoiser(concept, CFG, lambda denoiser, sigmas: shifted_average(
        denoiser, sigmas, demo.shape, CFG, 0).latents, layer=None, gradients=False)


def samples_by(demo: DemoModel, concept: str, way: Way, average: Tensor, count: int) -> Tensor:
    """Finished latents (count, C, H, W), from the same noise whatever the way."""
    def draw(denoiser, sigmas):
        return plain_samples(denoiser, sigmas, demo.shape, count, SEED)

    if way.kind == NOISE:
        return noised(demo, concept, way.amount, count)
    if way.kind == GUIDANCE:
        return demo.with_denoiser(concept, way.amount, draw, layer=None, gradients=False)
    return through(demo, pushed(demo, average, way.amount), demo.encode([concept]), draw)


def pushed(demo: DemoModel, average: Tensor, strength: float):
    """The MODEL as the node TypicalityGuidance patches it."""
    from mental_averages.nodes import comfyui

    return comfyui.pushed_model(demo.model, comfyui.Push(average, False, strength, 0.0, END_PERCENT))


def noised(demo: DemoModel, concept: str, share: float, count: int) -> Tensor:
    """Samples whose prompt carries noise of its own for each in the steps that a push acts on, and none later.

    y + share std(y) n, brought back to the mean and the deviation of y, as condition-annealed sampling does it
    (Sadat et al. 2024, arXiv 2310.17347), with a step in place of its ramp.
    """
    plain = demo.encode([concept])
    (embedding, options), = plain
    generator = torch.Generator().manual_seed(NOISE_SEED)
    n = torch.randn((count, *embedding.shape[1:]), generator=generator)
    centre, deviation = embedding.mean(), embedding.std()
    noisy = embedding + share * deviation * n
    noisy = (noisy - noisy.mean((1, 2), keepdim=True)) / noisy.std((1, 2), keepdim=True) * deviation + centre
    start = starting_noise(count, demo.shape, SEED)
    batch = BatchSize(count)  # each latent has a prompt of its own, dealt out in their order

    def first(denoiser, sigmas):
        x = initial_latent(denoiser.parametrization, start, sigmas[0].item())
        return sample(denoiser, x, sigmas[: PUSHED_STEPS + 1], batch=batch)

    pooled = {name: value.expand(count, *value.shape[1:]) if isinstance(value, Tensor) else value
              for name, value in options.items()}
    half = through(demo, demo.model, [[noisy, pooled]], first, latents=count)
    return through(demo, demo.model, plain,
                   lambda denoiser, sigmas: sample(denoiser, half, sigmas[PUSHED_STEPS:], batch=batch))


def through(demo: DemoModel, model, positive: list, function: Callable, **options) -> Tensor:
    """`function(denoiser, sigmas)` on a form of the demo's MODEL."""
    return on_model(model, positive, pack.encode_prompt(demo.clip, ""), CFG, demo.shape, function, steps=STEPS,
                    scheduler=SCHEDULER, layer=None, gradients=False, **options)
