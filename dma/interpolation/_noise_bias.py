"""What sets the noise of inversions apart from white noise, and how an average amplifies it."""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion import check_latents, shell_norm
from ..precision import in_double
from ..rounding import ROUNDING, is_rounding
from ._interpolate import interpolate


def channel_means(latents: Tensor) -> Tensor:
    """The mean of each channel over space, (N, C) in fp64 on the CPU."""
    return in_double(latents).mean(dim=(2, 3))


def relative_norms(latents: Tensor) -> Tensor:
    """The norm of each latent over sqrt(L), (N,) in fp64 on the CPU: 1 for white noise, give or take sqrt(1 / (2 L)).

    >>> relative_norms(torch.full((1, 4, 8, 8), 0.5))
    tensor([0.5000], dtype=torch.float64)
    """
    return in_double(latents).flatten(1).norm(dim=1) / shell_norm(latents)


def amplification(latents: Tensor) -> float:
    """alpha = sqrt(L) / |mean of the latents| (equation 5), near sqrt(N) for noise; infinite if the mean is zero."""
    norm = _norm_of_mean(latents)
    return 1 / norm if norm else math.inf


def independent_inputs(latents: Tensor) -> float:
    """Mean energy over energy of the mean: N for independent noise, fewer where latents have something in common.

    With a common part of norm b sqrt(L) in unit noise it is (1 + b^2) N / (1 + b^2 N), which saturates at 1 + 1 / b^2.

    >>> independent_inputs(torch.ones(5, 4, 8, 8))
    1.0
    """
    kept = _norm_of_mean(latents) ** 2
    return relative_norms(latents).square().mean().item() / kept if kept else math.nan


def common_energy(latents: Tensor) -> float:
    """Unbiased estimate of |d|^2 / L for the part d that all latents share; negative by chance where there is none.

    In expectation |mean|^2 = |d|^2 + (mean energy - |d|^2) / N, which is solved for |d|^2. NaN for one latent.
    """
    count = len(latents)
    if count < 2:
        return math.nan
    kept = _norm_of_mean(latents) ** 2
    return (count * kept - relative_norms(latents).square().mean().item()) / (count - 1)


def _norm_of_mean(latents: Tensor) -> float:
    """The norm of the mean over sqrt(L); 0 where latents cancel up to rounding."""
    norm = relative_norms(in_double(latents).mean(0, keepdim=True))
    return 0.0 if is_rounding(norm, relative_norms(latents).mean()) else norm.item()


@dataclass(frozen=True)
class ChannelMeanGrowth:
    """Channel means of normalised centroids of ever more latents, for random subsets of each size."""

    counts: list[int]
    channel_means: list[Tensor]  # per count, (subsets, C)
    amplification: list[Tensor]  # per count, (subsets,)

    @property
    def averaged(self) -> Tensor:
        """Signed channel means averaged over subsets, (counts, C)."""
        return torch.stack([means.mean(0) for means in self.channel_means])


def doubling_counts(count: int) -> list[int]:
    """1, 2, 4 ... and `count` itself.

    >>> doubling_counts(12)
    [1, 2, 4, 8, 12]
    """
    return [*(2**power for power in range(count.bit_length()) if 2**power < count), count]


def channel_mean_growth(latents: Tensor, counts: list[int], *, subsets: int, seed: int, method: str = "fix",
                        mean_adjustment: str = "none") -> ChannelMeanGrowth:
    """Channel means of centroids of N of the latents, for every N in `counts` (figure 4 of the paper).

    Each N gets `subsets` random subsets, drawn without replacement from a generator of `seed`; one subset where N is
    all of them. By equation 9 a common bias d grows as alpha d, with alpha near sqrt(N).
    """
    check_latents(latents)
    if min(counts) < 1 or max(counts) > len(latents) or subsets < 1:
        raise ValueError(f"Centroids of {min(counts)} to {max(counts)} latents in {subsets} subsets were asked for, "
                         f"but there are {len(latents)} latents: choose counts from 1 up to that number, and 1 subset "
                         "or more.")
    generator = torch.Generator().manual_seed(seed)
    means, factors = [], []
    for count in counts:
        chosen = [torch.randperm(len(latents), generator=generator)[:count]
                  for _ in range(subsets if count < len(latents) else 1)]
        rows = torch.zeros(len(chosen), len(latents), dtype=torch.float64)
        for row, members in zip(rows, chosen):
            row[members] = 1 / count
        mixture = interpolate(latents, rows, method=method, mean_adjustment=mean_adjustment)
        means.append(channel_means(mixture.latents))
        factors.append(mixture.amplification)
    return ChannelMeanGrowth(list(counts), means, factors)


def square_root_fit(counts: list[int], means: Tensor) -> tuple[Tensor, float]:
    """Slopes b (C,) of the law mean = b sqrt(N), fitted to means (counts, C), and its R^2 over all channels together.

    The line goes through the origin, while R^2 compares its errors with those of each channel's own mean over N. NaN
    where nothing varies.

    >>> slopes, fit = square_root_fit([1, 4, 9], torch.tensor([[1.0], [2.0], [3.0]]))
    >>> slopes.item(), fit
    (1.0, 1.0)
    """
    roots = torch.tensor(counts, dtype=means.dtype).sqrt()  # (counts,)
    slopes = roots @ means / roots.square().sum()  # (C,)
    errors = (means - roots[:, None] * slopes).square().sum().item()
    spread = (means - means.mean(0)).square().sum().item()
    # Squares of what differs by less than a millionth: mixed latents are in fp32.
    varies = spread > ROUNDING * means.square().sum().item()
    return slopes, 1 - errors / spread if varies else math.nan
