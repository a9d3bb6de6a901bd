"""The random part of a training: which latents, noise and noise levels each step sees."""
from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from ._settings import TrainingSettings


class Draw(NamedTuple):
    """The random part of one step: which latents (B,), standard normal noise (B, ...) and noise levels (B,), on the
    CPU."""

    rows: Tensor
    noise: Tensor
    sigma: Tensor


def draw(settings: TrainingSettings, step: int, count: int, shape: tuple[int, ...], levels: Tensor) -> Draw:
    """What step number `step`, from 0, trains on; it depends on nothing but the arguments.

    count: how many latents there are. They are gone through in an order that is shuffled anew each time all have been
    used, so that they come up equally often.
    levels: a table (T,) of noise levels, each as likely as any other. The table of a model's timesteps gives what the
    model was trained on; any other distribution is the table of its quantiles.

    >>> first = draw(TrainingSettings(batch_size=3), 0, 3, (4, 8, 8), torch.linspace(0.1, 14.6, 1000))
    >>> sorted(first.rows.tolist()), tuple(first.noise.shape), tuple(first.sigma.shape)
    ([0, 1, 2], (3, 4, 8, 8), (3,))
    """
    positions = range(step * settings.batch_size, (step + 1) * settings.batch_size)
    orders = {turn: torch.randperm(count, generator=_generator(settings.seed, "order", turn))
              for turn in {position // count for position in positions}}
    rows = torch.stack([orders[position // count][position % count] for position in positions])
    generator = _generator(settings.seed, "step", step)
    sigma = levels.cpu()[torch.randint(len(levels), (settings.batch_size,), generator=generator)]
    return Draw(rows, torch.randn((settings.batch_size, *shape), generator=generator), sigma.float())


def _generator(seed: int, what: str, number: int) -> torch.Generator:
    # Hashed, because seed + number would give neighbouring seeds the same steps, one later.
    digest = hashlib.sha256(f"{seed} {what} {number}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little"))
