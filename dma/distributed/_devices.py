"""Several cards of one machine."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch

from ..diffusion import Denoiser
from ._ray_workers import RayWorkers
from ._worker import ONLY, named

KINDS = ("cpu", "cuda", "xpu")  # of which Ray gives out several


@contextlib.contextmanager
def on_devices(source: Callable[[str], Any], devices: Sequence[str], *, name: str = ONLY) -> Generator[Denoiser]:
    """The Denoiser of `source(device)` on all of these devices, for `align`, `mean_shift` and whatever else takes one.

    On one device it is that Denoiser itself, in this process, and Ray is not even imported: nothing is slower. On
    several there is a worker for each, with a card of its own where they are cards ("cuda:0", "cuda:1"), or a part of
    the processors' cores ("cpu", "cpu"). Ray gives out the cards, so several are the first ones: CUDA_VISIBLE_DEVICES
    says which these are. The Ray is one of this machine's own, unless this process has joined one before.

    Raises ValueError for no devices, for cards and processors together, which would round differently, for several
    of a kind that Ray does not give out, for several cards other than the first ones, and for a name that the source
    does not have.

    >>> with on_devices(lambda device: f"a Denoiser on {device}", ["cpu"]) as denoiser:
    ...     denoiser
    'a Denoiser on cpu'
    """
    kinds = {device.split(":")[0] for device in devices}
    if len(kinds) != 1:
        raise ValueError(f"devices are {list(devices)}: name one or more of one kind, such as cuda:0 and cuda:1.")
    if len(devices) == 1:
        found = source(devices[0])
        yield named(found, name)
        return
    kind, = kinds
    if kind not in KINDS:
        raise ValueError(f"devices are {list(devices)}: several devices are of the kind {', '.join(KINDS)}. Name one.")
    if kind != "cpu" and sorted(devices) != sorted(f"{kind}:{number}" for number in range(len(devices))):
        raise ValueError(f"devices are {list(devices)}: several cards are those from {kind}:0 to "
                         f"{kind}:{len(devices) - 1}, once each. Choose others by CUDA_VISIBLE_DEVICES.")
    # The threads that torch has here are shared. Ray is not asked for cores: it may count fewer of them, as in a
    # container, and workers would wait for what there is not.
    threads = max(1, torch.get_num_threads() // len(devices)) if kind == "cpu" else 1
    with RayWorkers(OnOwnDevice(source, kind), len(devices), cpus=0, threads=threads, gpus=kind != "cpu",
                    address="local") as workers:
        yield workers.denoiser(name)


class OnOwnDevice:
    """The source of a worker that sees no card but its own."""

    def __init__(self, source: Callable[[str], Any], kind: str):
        self.source, self.kind = source, kind

    def __call__(self) -> Any:
        return self.source(self.kind if self.kind == "cpu" else f"{self.kind}:0")
