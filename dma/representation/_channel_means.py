"""Channel means: features of latents at noise levels, pooled over space and averaged over draws of noise.

For every latent x, noise level sigma and layer

    phi(x, sigma) = 1/n sum_k pool(H(add_noise(x, eps_k, sigma), sigma))

(arXiv 2506.01912, where H is the middle block of a U-Net, the pooling is the mean over space, and n is 20). The noises
eps_k are the same for all latents and levels: what a latent's representation is depends on neither the other latents
nor their order, and differences between latents are theirs alone. They have a kind of their own (`reading_noise`):
samples that were drawn at the same seed would otherwise be noised by what they were made of.
"""
from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from ..choices import check_choice
from ..diffusion import (
    Denoiser,
    LayeredDenoiser,
    add_noise,
    check_finite,
    check_latents,
    of_rows,
    salted_seed,
    starting_noise,
)
from ..execution import BatchSize, Clock, Event, Watcher, choose_batch, drive
from ..models import POOLINGS, fingerprint, pooled
from ..named_tensors import below, under
from ..precision import in_double
from ._representation import Representation

# Part of the key of every saved run. Raise the number when one of the same settings gives other results than before.
ALGORITHM = "channel means 2"
MAXIMUM = "maximum"
SUMS = "sums "  # before the names of layers
# What features are pooled by where one number of each channel is asked for, and what is read need not be linear.
OVER_SPACE = (MAXIMUM, "mean")


@dataclass(frozen=True)
class Reading:
    """What is read of every latent: `draws` noises from `seed`, pooled by one of `models.POOLINGS`, or by the "maximum"
    of each channel over space."""

    draws: int = 8
    seed: int = 0
    pooling: str = "mean"

    def check(self, sigmas: Sequence[float]) -> None:
        """Raise ValueError with a sentence for the user unless this can be read at the noise levels `sigmas`."""
        check_choice(self.pooling, (*POOLINGS, MAXIMUM), "pooling")
        if self.draws < 1:
            raise ValueError(f"draws is {self.draws}: at least 1 draw of noise is needed.")
        falls = all(high > low for high, low in zip(sigmas, sigmas[1:]))
        if not sigmas or not falls or not all(0 <= sigma < float("inf") for sigma in sigmas):
            raise ValueError("Features are read at one or more noise levels that fall, none of them negative or NaN, "
                             f"but these are {', '.join(f'{sigma:.4g}' for sigma in sigmas) or 'none'}.")

    def draws_at(self, sigma: float) -> int:
        """How many noises there are at a noise level: at 0 all are the same."""
        return self.draws if sigma > 0 else 1

    def rows(self, count: int, sigmas: Sequence[float]) -> int:
        """How many noisy latents are read for `count` latents."""
        return count * sum(map(self.draws_at, sigmas))


@dataclass
class MeansState:
    """A reading after `done` noisy latents of all: level by level, the draws of a latent one after the other.

    sums: by layer, the sums (N, L, C, ...) in fp64 of what has been read.
    """

    done: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    @property
    def where(self) -> str:
        """How far the run has come, in words."""
        return f"noisy latent {self.done}"

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        return (under(SUMS, self.sums),
                {"done": self.done, "seconds": self.seconds, "pace": self.pace})

    def means(self, layer: str, reading: Reading, sigmas: Sequence[float]) -> Tensor:
        """The means (N, L, C, ...) over draws of a layer that has been read whole; no tensors of an inference mode."""
        counts = torch.tensor([reading.draws_at(sigma) for sigma in sigmas], dtype=torch.float64)
        with torch.inference_mode(False):
            sums = self.sums[layer].clone()
            return (sums / counts.view(-1, *[1] * (sums.ndim - 2))).float()

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> MeansState:
        """The state that `packed` was asked for."""
        return cls(meta["done"], below(SUMS, tensors),
                   meta.get("seconds", 0.0), meta.get("pace", {}))


def channel_means(denoiser: Denoiser, latents: Tensor, sigmas: Sequence[float], reading: Reading = Reading(), *,
                  layer: str = "", batch: BatchSize | None = None, watchers: Sequence[Watcher] = (),
                  state: MeansState | None = None) -> Representation:
    """The representation of clean latents (N, C, H, W), in the units in which the denoiser works, at falling noise
    levels `sigmas` (L), by the denoiser's own features; `layer` is what these are called in it.

    A denoiser that pools features itself is taken at its word. The result does not depend on `batch` beyond rounding.
    Events are "read" after each micro-batch, and "level" after each noise level.

    Raises ValueError for latents and settings that make no sense, and NotFiniteError for features that are NaN or
    infinite.

    >>> from ..diffusion import Parametrization
    >>> class Flat:
    ...     parametrization, device = Parametrization.EPS, torch.device("cpu")
    ...     def denoise(self, x, sigma): return x
    ...     def features(self, x, sigma): return x
    >>> found = channel_means(Flat(), torch.arange(8.0).view(1, 2, 2, 2), [0.0])
    >>> found.means.tolist()
    [[[1.5, 5.5]]]
    """
    return _driven(denoiser, latents, sigmas, (layer,), False, reading, batch, watchers, state)[layer]


def means_of_layers(denoiser: LayeredDenoiser, latents: Tensor, sigmas: Sequence[float], layers: Sequence[str],
                    reading: Reading = Reading(), *, batch: BatchSize | None = None, watchers: Sequence[Watcher] = (),
                    state: MeansState | None = None) -> dict[str, Representation]:
    """`channel_means` at several layers, by their names, from one forward pass for all of them."""
    if not layers or len(set(layers)) < len(layers):
        raise ValueError(f"Each layer is named once, and at least one, but these are {', '.join(layers) or 'none'}.")
    return _driven(denoiser, latents, sigmas, tuple(layers), True, reading, batch, watchers, state)


def _driven(denoiser: Denoiser, latents: Tensor, sigmas: Sequence[float], layers: tuple[str, ...], named: bool,
            reading: Reading, batch: BatchSize | None, watchers: Sequence[Watcher],
            state: MeansState | None) -> dict[str, Representation]:
    check_latents(latents)
    latents = latents.detach().cpu()  # where their noise is drawn
    sigmas, shape, state = tuple(map(float, sigmas)), tuple(latents.shape[1:]), state or MeansState()
    reading.check(sigmas)
    answers = fingerprint(of_rows(denoiser, [0]), sigmas, shape)
    drive(reading_means(denoiser, latents, sigmas, layers, reading, choose_batch(batch, shape), state, named=named),
          state, (Clock(), *watchers))
    # What is kept may be asked for gradients later, which tensors of an inference mode cannot take part in.
    with torch.inference_mode(False):
        return {layer: Representation(state.means(layer, reading, sigmas), layer, sigmas, reading.draws, reading.seed,
                                      reading.pooling, shape, answers.clone()) for layer in layers}


def reading_means(denoiser: Denoiser, latents: Tensor, sigmas: Sequence[float], layers: Sequence[str],
                  reading: Reading, batch: BatchSize, state: MeansState, *,
                  named: bool = True) -> Generator[Event, None, None]:
    """The loop of `channel_means`: works on `state` from where it stands to its end.

    named: whether layers are read by their names, or the denoiser's own features, of which there are one.
    """
    shape, count = latents.shape[1:], len(latents)
    noise = reading_noise(reading.draws, tuple(shape), reading.seed)  # (n, C, H, W)
    before = 0
    for level, sigma in enumerate(sigmas):
        draws = reading.draws_at(sigma)
        total = count * draws

        def read(rows: slice, draws: int = draws, sigma: float = sigma) -> dict[str, Tensor]:
            chosen, noisy = noisy_draws(denoiser, latents, noise[:draws], rows, sigma)
            part = of_rows(denoiser, chosen)
            with torch.no_grad():
                if named:
                    return cast(LayeredDenoiser, part).all_features(
                        noisy, sigma, list(layers), lambda layer, features: _over_space(features, reading.pooling))
                return {layers[0]: _over_space(part.features(noisy, sigma), reading.pooling)}

        for rows, found in batch.over(total, read, max(0, state.done - before)):
            places = torch.arange(rows.start, rows.stop) // draws
            # All of them before the first is added: what an error leaves behind can be gone on from.
            for layer, values in found.items():
                check_finite(values, f"The features of the layer {layer}" if layer else "The features", sigma)
            for layer, values in found.items():
                sums = state.sums.setdefault(layer, _zeros(count, len(sigmas), values))
                sums[:, level].index_add_(0, places, in_double(values))
            state.done = before + rows.stop
            yield Event("read", rows.stop - rows.start, rows.stop, total, changed=True)
            if rows.stop == total:
                yield Event("level", 0.0, closes=True)
        before += total


def _over_space(features: Tensor, pooling: str) -> Tensor:
    if pooling != MAXIMUM:
        return pooled(features, pooling)
    return features.flatten(2).amax(2) if features.ndim > 2 else features  # (B, C)


def reading_noise(draws: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """The noises (n, C, H, W) of a seed by which clean latents are read: not those that samples of this seed start
    from."""
    return starting_noise(draws, shape, salted_seed(seed, "reading"))


def noisy_draws(denoiser: Denoiser, latents: Tensor, noise: Tensor, rows: slice,
                sigma: float) -> tuple[list[int], Tensor]:
    """Some rows (b, C, H, W) of all latents (N, C, H, W) with all noises (n, C, H, W), the draws of a latent one after
    the other, on the denoiser's device; and whose latents they are."""
    numbers = torch.arange(rows.start, rows.stop)
    chosen = numbers // len(noise)  # (b,)
    noisy = add_noise(denoiser.parametrization, latents[chosen], noise[numbers % len(noise)], sigma)
    return chosen.tolist(), noisy.to(denoiser.device)


def _zeros(count: int, levels: int, values: Any) -> Tensor:
    with torch.inference_mode(False):
        return torch.zeros(count, levels, *values.shape[1:], dtype=torch.float64)
