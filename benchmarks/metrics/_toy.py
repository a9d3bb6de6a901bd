"""The toy of arXiv 2406.09358, for hallucination.py: a few narrow modes on a line, and a small network that has learnt
to denoise them and draws between them what is not there."""
from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MEANS, DEVIATION = (1.0, 2.0, 3.0), 0.05
HIGHEST, LOWEST = 20.0, 0.01  # noise levels
INSIDE, OUTSIDE = 4.0, 6.0  # standard deviations from the nearest mode, up to and from which a sample is judged
FREQUENCIES = 8


def data(count: int, generator: torch.Generator) -> Tensor:
    """Points (count, 1): of each mode as many."""
    modes = torch.tensor(MEANS)[torch.randint(len(MEANS), (count,), generator=generator)]
    return (modes + DEVIATION * torch.randn(count, generator=generator))[:, None]


@dataclass
class Exact:
    """The exact denoiser E[x0 | x] of the modes, which draws nothing between them."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        means, total = torch.tensor(MEANS), DEVIATION**2 + sigma**2
        odds = -(x - means).square() / (2 * total)  # (B, modes)
        pulled = means + DEVIATION**2 / total * (x - means)
        return (odds.softmax(1) * pulled).sum(1, keepdim=True)


class Learnt(nn.Module):
    """A small network for the denoiser: smooth, as networks are, where the exact one jumps from mode to mode."""

    def __init__(self, width: int = 128):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1 + 2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width),
                                    nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        level = torch.as_tensor(sigma).expand(len(x))[:, None]
        waves = level.log() * 2.0 ** torch.arange(-3, FREQUENCIES - 3)
        # Of unit variance at every noise level, after the mean of the data.
        scaled = (x - 2) / (level.square() + 0.7).sqrt()
        noise = self.layers(torch.cat([scaled, waves.sin(), waves.cos()], 1))
        return x - level * noise


def trained(steps: int, seed: int) -> Learnt:
    """The network after so many steps of Adam on the error of the predicted noise."""
    torch.manual_seed(seed)
    generator, network = torch.Generator().manual_seed(seed), Learnt()
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        clean = data(1024, generator)
        share = torch.rand(len(clean), generator=generator)
        level = torch.exp(math.log(LOWEST) + share * math.log(HIGHEST / LOWEST))
        noise = torch.randn(clean.shape, generator=generator)
        found = network(clean + level[:, None] * noise, level)
        loss = ((found - clean) / level[:, None]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def levels(steps: int) -> list[float]:
    """So many noise levels, falling, and 0."""
    return [*torch.logspace(math.log10(HIGHEST), math.log10(LOWEST), steps).tolist(), 0.0]


@torch.no_grad()
def sampled(denoise, steps: int, count: int, ancestral: bool, seed: int) -> tuple[Tensor, list[Tensor]]:
    """Samples (count, 1) by Euler steps, ancestral ones or deterministic ones, and the predictions of all steps."""
    generator = torch.Generator().manual_seed(seed)
    x, predictions = HIGHEST * torch.randn(count, 1, generator=generator) + 2, []
    for sigma, following in _pairs(levels(steps)):
        clean = denoise(x, sigma)
        predictions.append(clean)
        added = min(following, math.sqrt(following**2 * (sigma**2 - following**2) / sigma**2)) if ancestral else 0.0
        down = math.sqrt(following**2 - added**2)
        x = x + (down - sigma) / sigma * (x - clean)
        x = x + added * torch.randn(x.shape, generator=generator)
    return x, predictions


def _pairs(values: list[float]) -> Iterator[tuple[float, float]]:
    return iter(zip(values[:-1], values[1:]))


def kinds(x: Tensor) -> tuple[Tensor, Tensor]:
    """Which samples (B, 1) lie in a mode, and which lie off all of them, (B,) each."""
    distance = (x - torch.tensor(MEANS)).abs().min(1).values / DEVIATION
    return distance <= INSIDE, distance >= OUTSIDE
