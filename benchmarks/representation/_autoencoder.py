"""The two-layer ReLU denoising autoencoder of arXiv 2512.20963, its training, and what its optima are in closed form.

    f(y) = W2 [W1^T y]_+,   y = x + sigma eps,   loss = E |f(y) - x|^2 + lambda (|W1|^2 + |W2|^2)

No biases, W1 and W2 of d x p, one noise level. Where the gates [.]_+ of a group of pictures are settled, the group sees
a linear autoencoder, whose best weights follow from the eigenvalues s of its second moments: both layers are equal,
with gain (s - lambda) / (s + sigma^2) along the leading eigenvectors. A group may be a single picture x of share pi
among the draws: s = |x|^2 along x itself, and lambda counts 1 / pi times.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mental_averages.dma import representation


@dataclass(frozen=True)
class Autoencoder:
    """W1 and W2, (d, p) each."""

    encoder: Tensor
    decoder: Tensor

    def code(self, y: Tensor) -> Tensor:
        """[W1^T y]_+ of pictures (N, d), (N, p)."""
        return (y @ self.encoder).clamp_min(0)

    def __call__(self, y: Tensor) -> Tensor:
        return self.code(y) @ self.decoder.T


@dataclass(frozen=True)
class Setting:
    sigma: float = 0.2
    decay: float = 0.1  # lambda
    width: int = 64  # p
    steps: int = 3000
    batch: int = 128
    rate: float = 5e-3  # of Adam; it falls to zero along a cosine
    start: float = 0.1  # norm of a unit's weights at the start


def without(pictures: Tensor, rows: Sequence[int]) -> Tensor:
    """Pictures (n, d) but those with some numbers."""
    kept = torch.ones(len(pictures), dtype=torch.bool)
    kept[list(rows)] = False
    return pictures[kept]


def train(pictures: Tensor, setting: Setting, seed: int, shares: Tensor | None = None) -> Autoencoder:
    """Weights after training on pictures (n, d), drawn by `shares` (n,), or all alike."""
    generator = torch.Generator().manual_seed(seed)
    size = (pictures.shape[1], setting.width)
    encoder, decoder = (torch.randn(size, generator=generator).mul_(setting.start / math.sqrt(size[0])).requires_grad_()
                        for _ in range(2))
    optimiser = torch.optim.Adam([encoder, decoder], lr=setting.rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, setting.steps)
    shares = torch.ones(len(pictures)) if shares is None else shares
    for _ in range(setting.steps):
        clean = pictures[torch.multinomial(shares, setting.batch, replacement=True, generator=generator)]
        noisy = clean + setting.sigma * torch.randn(clean.shape, generator=generator)
        missed = (Autoencoder(encoder, decoder)(noisy) - clean).square().sum(1).mean()
        optimiser.zero_grad()
        (missed + setting.decay * (encoder.square().sum() + decoder.square().sum())).backward()
        optimiser.step()
        falling.step()
    return Autoencoder(encoder.detach(), decoder.detach())


def loss(network: Autoencoder, pictures: Tensor, setting: Setting, draws: int = 4, seed: int = 9) -> float:
    """The loss over pictures (n, d), with noise drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    missed = [(network(pictures + setting.sigma * torch.randn(pictures.shape, generator=generator)) - pictures)
              .square().sum(1).mean() for _ in range(draws)]
    weights = network.encoder.square().sum() + network.decoder.square().sum()
    return (sum(missed) / draws + setting.decay * weights).item()


def gain(moment: Tensor, setting: Setting, share: float = 1.0) -> Tensor:
    """(s - lambda / pi) / (s + sigma^2), never negative: the best gain along a direction of second moment s."""
    return ((moment - setting.decay / share) / (moment + setting.sigma**2)).clamp_min(0)


def linear_optimum(pictures: Tensor, setting: Setting) -> tuple[Tensor, float]:
    """W2 W1^T (d, d) and the loss of the best weights for pictures (n, d) on which every gate is open."""
    moments, directions = torch.linalg.eigh((pictures.T @ pictures / len(pictures)).double())
    moments, directions = moments.flip(0).clamp_min(0), directions.flip(1)
    gains = gain(moments, setting)
    gains[setting.width:] = 0
    best = moments * (1 - gains).square() + setting.sigma**2 * gains.square() + 2 * setting.decay * gains
    return (directions * gains @ directions.T).float(), best.sum().item()


def storing_optimum(pictures: Tensor, setting: Setting, share: float) -> float:
    """The loss of weights that store n pictures (n, d) of equal share, each in units of its own, all others shut."""
    moments = pictures.square().sum(1).double()
    gains = gain(moments, setting, share)
    best = moments * (1 - gains).square() + setting.sigma**2 * gains.square() + 2 * setting.decay / share * gains
    return (share * best.sum()).item()


def stored_gains(network: Autoencoder, pictures: Tensor) -> Tensor:
    """u^T f'(x) u of each picture x (n, d) along its own direction u, (n,): what of it the network gives back."""
    directions = pictures / pictures.norm(dim=1, keepdim=True)
    open_gates = (pictures @ network.encoder > 0).float()  # (n, p)
    return ((directions @ network.encoder) * open_gates * (directions @ network.decoder)).sum(1)


def merged(network: Autoencoder, alike: float = 0.95) -> Autoencoder:
    """The same function with units that point the same way made one: decay does not care how a unit is divided.

    Exact for parallel units, whose weights a and b make the one of squared length |a|^2 + |b|^2.
    """
    units = torch.nn.functional.normalize(network.encoder, dim=0)
    lengths = network.encoder.norm(dim=0)
    # Decay has taken the others to nothing, which points nowhere.
    left = [unit for unit in lengths.argsort(descending=True).tolist() if lengths[unit] > 1e-6 * lengths.max()]
    groups: list[list[int]] = []
    while left:
        first, *others = left
        close = (units[:, first] @ units[:, others] > alike).tolist()
        groups.append([first, *(unit for unit, near in zip(others, close) if near)])
        left = [unit for unit, near in zip(others, close) if not near]

    def joined(weights: Tensor) -> Tensor:
        columns = []
        for group in groups:
            column = weights[:, group]
            lengths = column.norm(dim=0)
            columns.append((column * lengths).sum(1) / lengths.norm().clamp_min(1e-12))
        return torch.stack(columns, dim=1)

    return Autoencoder(joined(network.encoder), joined(network.decoder))


def participation(codes: Tensor) -> Tensor:
    """(sum h)^2 / sum h^2 of codes (N, p), (N,): how many units carry a code; 1 for one-hot."""
    return codes.shape[1] * representation.participation(codes).nan_to_num(nan=0.0)


def spikiness(codes: Tensor) -> Tensor:
    """Standard deviation over units, over their mean, of codes (N, p), (N,)."""
    return codes.std(1, correction=0) / codes.mean(1).clamp_min(1e-12)
