"""The Denoiser that all workers have, where none is at hand."""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from ..diffusion import Task, start_scale
from ..execution import BatchSize

Result = TypeVar("Result")


class Workers(Protocol):
    """What stands behind a `RemoteDenoiser`; `RayWorkers` is one."""

    def over(self, batch: BatchSize, total: int, task: Task[Result], first: int = 0, latents: Tensor | None = None, *,
             name: str = "") -> Iterator[tuple[slice, Result]]:
        """What `diffusion.spread` says, with the Denoisers of that name."""
        ...


class RemoteDenoiser:
    """`dma.diffusion.SpreadDenoiser` of workers: takes latents on the CPU, and sends what is asked for to one of them,
    or, by `over`, a whole pass to all.

    Features come without gradient. Where a loop differentiates, it is the workers that do it, in the task of a pass.
    """

    device = torch.device("cpu")

    def __init__(self, workers: Workers, name: str):
        self.workers, self.name = workers, name
        self.parametrization = self._told(telling_parametrization)

    def over(self, batch: BatchSize, total: int, task: Task[Result], first: int = 0,
             latents: Tensor | None = None) -> Iterator[tuple[slice, Result]]:
        return self.workers.over(batch, total, task, first, latents, name=self.name)

    def start_scale(self, sigma: float) -> float:
        return self._told(functools.partial(telling_scale, sigma=sigma))

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        return self._asked(functools.partial(denoising, sigma=sigma), x)

    def features(self, x: Tensor, sigma: float) -> Tensor:
        if x.requires_grad:
            raise ValueError("Features of a model that workers have come without gradient: only methods that send "
                             "whole passes to the workers, as align does, can use it.")
        return self._asked(functools.partial(featuring, sigma=sigma), x)

    def _told(self, task: Task[Any]) -> Any:
        (_, answer), = self.over(BatchSize(1), 1, task)
        return answer

    def _asked(self, task: Task[Tensor], latents: Tensor) -> Tensor:
        """Of all latents together; in parts where these do not fit into a worker's memory. Raises ValueError for
        none, of which it would not be known what they give."""
        if not len(latents):
            raise ValueError("There are no latents that a worker could be asked for.")
        found = self.over(BatchSize(len(latents)), len(latents), task, 0, latents)
        return torch.cat([answer for _, answer in found])


def telling_parametrization(denoiser: Any) -> Callable[[slice], Any]:
    return lambda rows: denoiser.parametrization


def telling_scale(denoiser: Any, *, sigma: float) -> Callable[[slice], float]:
    return lambda rows: start_scale(denoiser, sigma)


def denoising(denoiser: Any, *, sigma: float) -> Callable[[slice, Tensor], Tensor]:
    return lambda rows, latents: denoiser.denoise(latents.to(denoiser.device), sigma)


def featuring(denoiser: Any, *, sigma: float) -> Callable[[slice, Tensor], Tensor]:
    return lambda rows, latents: denoiser.features(latents.to(denoiser.device), sigma).detach()
