"""Noise: seeded rows of it, and latents between clean and noise."""
from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from ._denoiser import Denoiser
from ._parametrization import Parametrization, paper_scale

# PyTorch draws the same normal numbers in parts as at once if every part but the last has a multiple of 16 of them, and
# the last no fewer than 16.
ROWS_AT_ONCE = 16
SKIPPED_AT_ONCE = 2**20  # numbers
# Of the noise that averages get back, the same for all: any number would do.
RESTORED_NOISE_SEED = 0x5EED


def starting_noise(count: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal noise (count, *shape), the same that ComfyUI's KSampler draws for a batch with this seed."""
    return torch.randn((count, *shape), generator=torch.Generator("cpu").manual_seed(seed))


def salted_seed(seed: int, salt: str) -> int:
    """A seed for noises of their own kind, `salt`: independent of those of the seed itself and of every other kind.

    >>> salted_seed(7, "level 1") == salted_seed(7, "level 1"), salted_seed(7, "level 1") == salted_seed(8, "level 0")
    (True, False)
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {salt}".encode()).digest()[:8], "little")


class NoiseRows:
    """Rows of scale * `starting_noise(count, shape, seed)`, drawn when they are asked for and forgotten once they are
    behind.

    PyTorch's generator cannot jump, so that all numbers before a row are drawn too, but those of rows that nobody asks
    for never lie in memory together: a million numbers take some milliseconds. Rows before the last ones asked for
    begin anew.

    >>> rows = NoiseRows(40, (2, 3, 3), seed=1)
    >>> parts = torch.cat([rows[0:7], rows[7:20], rows[20:40]])
    >>> bool((parts == starting_noise(40, (2, 3, 3), seed=1)).all())
    True
    """

    def __init__(self, count: int, shape: tuple[int, ...], seed: int, scale: float = 1.0):
        self.count, self.shape, self.scale, self.seed = count, shape, scale, seed
        self._begin()

    def __getitem__(self, wanted: slice) -> Tensor:
        """Rows from `wanted.start` to `wanted.stop`."""
        if wanted.start < self.first:
            self._begin()
        while True:
            behind = min(wanted.start - self.first, len(self.rows))
            if behind:
                # Cloned, because a slice would keep the rows before it in memory.
                self.rows, self.first = self.rows[behind:].clone(), self.first + behind
            if (drawn := self.first + len(self.rows)) >= wanted.stop:
                return self.rows[: wanted.stop - wanted.start]
            size = ROWS_AT_ONCE if self.count - drawn >= 2 * ROWS_AT_ONCE else self.count - drawn
            if drawn + size <= wanted.start:
                self._skip(size)
            else:
                self.rows = torch.cat([self.rows,
                                       self.scale * torch.randn((size, *self.shape), generator=self.generator)])

    def _begin(self) -> None:
        self.generator = torch.Generator("cpu").manual_seed(self.seed)
        self.first, self.rows = 0, torch.empty(0, *self.shape)

    def _skip(self, size: int) -> None:
        """Leave out rows before any is held, as many as would be drawn at once."""
        left = size * math.prod(self.shape)
        if left >= ROWS_AT_ONCE and left % ROWS_AT_ONCE == 0:
            # A normal number of so many takes one number of the generator, as one of uniform distribution does.
            for skipped in range(0, left, SKIPPED_AT_ONCE):
                torch.rand(min(SKIPPED_AT_ONCE, left - skipped), generator=self.generator)
        else:
            torch.randn((size, *self.shape), generator=self.generator)
        self.first += size


class NoisePairs:
    """Rows of noise (count, *shape) in pairs: row 2 j is row j of `starting_noise`, and row 2 j + 1 its negative.

    Drawn when they are asked for, as those of `NoiseRows`, and independent of how they are asked for.

    >>> rows = NoisePairs(3, (1, 2, 2), seed=1)[0:3]
    >>> bool((rows[1] == -rows[0]).all()), bool((rows[2] == starting_noise(2, (1, 2, 2), seed=1)[1]).all())
    (True, True)
    """

    def __init__(self, count: int, shape: tuple[int, ...], seed: int):
        self.halves = NoiseRows((count + 1) // 2, shape, seed)

    def __getitem__(self, wanted: slice) -> Tensor:
        """Rows from `wanted.start` to `wanted.stop`."""
        first = wanted.start // 2
        halves = self.halves[first : (wanted.stop + 1) // 2]
        pairs = torch.stack([halves, -halves], dim=1).flatten(0, 1)  # (2 B, *shape)
        return pairs[wanted.start - 2 * first : wanted.stop - 2 * first]


def initial_latent(parametrization: Parametrization, noise: Tensor, sigma: float) -> Tensor:
    """The latent at the first noise level that standard normal `noise` stands for, where nothing but noise is left.

    For eps and v models z = noise in the papers' units; for flow sigma * noise.
    """
    return _start_scale(parametrization, sigma) * noise


def start_scale(denoiser: Denoiser, sigma: float) -> float:
    """What standard normal noise is multiplied by to be the latent x that sampling starts from at noise level `sigma`.

    That of `initial_latent`, unless the denoiser has a method `start_scale(sigma)` that knows better: a schedule may
    begin below the level at which nothing but noise is left, and what is there then is for the program whose samplers
    are to be equalled. The noise of an inversion is its latent over the same factor, so that it leads back.

    >>> class Eps:
    ...     parametrization = Parametrization.EPS
    >>> start_scale(Eps(), 0.75)
    1.25
    """
    own = getattr(denoiser, "start_scale", None)
    return _start_scale(denoiser.parametrization, sigma) if own is None else own(sigma)


def _start_scale(parametrization: Parametrization, sigma: float) -> float:
    return sigma if parametrization is Parametrization.FLOW else 1.0 / paper_scale(parametrization, sigma)


def add_noise(parametrization: Parametrization, clean: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
    """A clean latent brought to a noise level: x0 + sigma eps, or (1 - sigma) x0 + sigma eps for flow."""
    return _signal_scale(parametrization, sigma) * clean + sigma * noise


def noise_in(parametrization: Parametrization, x: Tensor, clean: Tensor, sigma: float) -> Tensor:
    """The noise eps that `add_noise` would have to be given to turn `clean` into `x`."""
    return (x - _signal_scale(parametrization, sigma) * clean) / sigma


def _signal_scale(parametrization: Parametrization, sigma: float | Tensor) -> float | Tensor:
    return 1.0 - sigma if parametrization is Parametrization.FLOW else 1.0


def shell_norm(latent: Tensor) -> float:
    """sqrt(L), the norm that a standard normal latent of this shape (batch excluded) concentrates on."""
    return math.sqrt(math.prod(latent.shape[1:]))


def noise_of(parametrization: Parametrization, x: Tensor, sigma: float) -> Tensor:
    """The noise z that stands for a latent at a noise level: the inverse of `diffusion.initial_latent`.

    >>> noise_of(Parametrization.FLOW, torch.ones(1, 1, 1, 2), 0.5)
    tensor([[[[2., 2.]]]])
    """
    if parametrization is Parametrization.FLOW:
        return x / sigma
    return x * paper_scale(parametrization, sigma)
