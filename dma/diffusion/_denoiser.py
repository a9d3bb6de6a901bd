"""What a model must offer: the clean latent at a noise level, and features at one layer."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, cast

import torch
from torch import Tensor

from ._parametrization import Parametrization


class Denoiser(Protocol):
    """A diffusion model with its prompt, guidance and semantic layer already chosen.

    Both methods take latents (B, C, H, W) in fp32 on `device`, as `dma.diffusion` carries them, and one noise level
    for the whole batch. Rows are independent of each other: a batch gives what its rows give alone. One that has a
    method `start_scale(sigma)` as well says by it how noise becomes the latent that sampling starts from (see
    `diffusion.start_scale`). One that is a `ListeningDenoiser` hears of deterministic steps.
    """

    parametrization: Parametrization
    device: torch.device

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """The guided prediction of the clean latent, (B, C, H, W). No gradient is recorded."""
        ...

    def features(self, x: Tensor, sigma: float) -> Tensor:
        """H(x, sigma): features at the semantic layer, (B, ...) in fp32, differentiable in `x` where it needs grad."""
        ...


class RowsDenoiser(Denoiser, Protocol):
    """A Denoiser of latents that differ in more than themselves, as where each has a hint for its ControlNet.

    It is given all of its latents, or asked for a Denoiser of the ones that it is given, as inversion and the reading
    of features do.
    """

    def of(self, rows: Sequence[int]) -> Denoiser:
        """The Denoiser of some of its latents, by their numbers among them."""
        ...


AnyDenoiser = TypeVar("AnyDenoiser", bound=Denoiser)


def of_rows(denoiser: AnyDenoiser, rows: slice | Sequence[int]) -> AnyDenoiser:
    """The Denoiser for some of its latents, counted from 0: its own `of`, or where it has none itself, because then its
    rows are independent of each other.

    >>> denoiser = object()
    >>> of_rows(denoiser, slice(0, 2)) is denoiser
    True
    """
    if not hasattr(denoiser, "of"):
        return denoiser
    chosen = range(rows.start, rows.stop) if isinstance(rows, slice) else rows
    return cast(AnyDenoiser, cast(RowsDenoiser, denoiser).of(chosen))


class ListeningDenoiser(Denoiser, Protocol):
    """A Denoiser that hears of each deterministic step of latents on their way down.

    Not of what else it is asked for on that way: means, features, previews.
    """

    def stepped(self, sigma: float, following: float, rows: slice, clean: Tensor, latents: Tensor) -> None:
        """Some rows have stepped from one noise level to another, with these predictions (b, C, H, W) of their clean
        latents; latents (K, C, H, W) are all of them, of which the rows up to these have arrived."""
        ...


def tell(denoiser: Denoiser, sigma: float, following: float, rows: slice, clean: Tensor, latents: Tensor) -> None:
    """Let a Denoiser hear of a step, if it is a `ListeningDenoiser`."""
    heard = getattr(denoiser, "stepped", None)
    if heard is not None:
        heard(sigma, following, rows, clean, latents)


class RoundingDenoiser(Denoiser, Protocol):
    """A Denoiser that knows how coarsely its network computes.

    rounding: about how far the network's answers are from exact ones, relative to them; a few times the machine epsilon
        of the type that it computes in.
    """

    rounding: float


def rounding_of(denoiser: Denoiser) -> float:
    """The rounding of a `RoundingDenoiser`, 0 for others."""
    return getattr(denoiser, "rounding", 0.0)


class LayeredDenoiser(Denoiser, Protocol):
    """A Denoiser that can be read at several layers."""

    def all_features(self, x: Tensor, sigma: float, layers: list[str],
                     reduced: Callable[[str, Tensor], Tensor]) -> dict[str, Tensor]:
        """What the linear function `reduced(layer, features)` makes of the features of each layer, from one forward
        pass."""
        ...

    def at(self, layer: str) -> Denoiser:
        """The same Denoiser with its features read at another layer."""
        ...


class EmbeddingDenoiser(Denoiser, Protocol):
    """A guided Denoiser whose unconditional text embedding can be replaced."""

    def unconditional_embedding(self) -> Tensor:
        """The embedding (1, T, D) that guidance leads away from."""
        ...

    def denoise_with(self, x: Tensor, sigma: float, embedding: Tensor) -> Tensor:
        """`denoise` with another unconditional embedding (1 or B, T, D), differentiable in it."""
        ...
