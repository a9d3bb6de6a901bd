"""What patches draw from PyTorch's global generators, such as HyperTile its tiles and ToMe its tokens.

Core seeds these generators when it draws a KSampler's noise, and every call of the network takes from them what it
needs, one after the other. A Denoiser's calls are micro-batches, readings of features and line searches, and a run may
go on from a saved state: what a patch draws must not depend on how many calls there were before. So every call of the
network draws anew, from the run's seed and the noise level alone. The user's generators are left as they were.
"""
from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import Any

import comfy.model_patcher
import comfy.patcher_extension
import comfy.sample
import torch
from torch import Tensor

ACCELERATORS = ("cuda", "xpu", "npu", "mlu", "mps")


class Draws:
    """What patches draw in the calls of one Denoiser.

    in_turn: leave the generators to run on from call to call, as they do in a KSampler: for a run of a single latent
    from its beginning to its end.
    """

    def __init__(self, seed: int, in_turn: bool = False):
        self.seed, self.in_turn, self.level = seed, in_turn, None

    def at(self, sigma: float | None) -> None:
        """What follows is drawn for this noise level; without one, for rows that have levels of their own."""
        self.level = sigma
        self.begin()

    def begin(self) -> None:
        if not self.in_turn:
            # In single precision, in which schedules come, so that the way up and the way down draw the same.
            level = b"" if self.level is None else struct.pack("<f", self.level)
            digest = hashlib.blake2b(str(self.seed).encode() + b" " + level, digest_size=8).digest()
            torch.manual_seed(int.from_bytes(digest, "little"))

    def through(self, options: dict) -> dict:
        """A sampler's options with this drawing around every call of the network.

        Around the network itself, because free memory decides whether core evaluates both sides of guidance in one
        call or in two.
        """
        def run(executor: Callable, *arguments: Any, **keywords: Any) -> Any:
            self.begin()
            return executor(*arguments, **keywords)

        model_options = comfy.model_patcher.create_model_options_clone(options["model_options"])
        comfy.patcher_extension.add_wrapper(comfy.patcher_extension.WrappersMP.APPLY_MODEL, run, model_options,
                                            is_model_options=True)
        return {**options, "model_options": model_options}


@contextlib.contextmanager
def seeded_as_core(shape: tuple[int, ...], seed: int) -> Iterator[None]:
    """The global generators as core's noise of one latent of `shape` (C, H, W) leaves them; afterwards as they were."""
    with generators_kept():
        comfy.sample.prepare_noise(torch.zeros(1, *shape), seed)
        yield


@contextlib.contextmanager
def generators_kept() -> Iterator[None]:
    """Whatever is drawn inside, the global generators are afterwards as they were."""
    states = generator_states()
    try:
        yield
    finally:
        set_generators(states)


def generator_states() -> list[tuple[Callable[[Tensor], None], Tensor]]:
    """The states of the global generators, each behind the function that sets it."""
    states: list[tuple[Callable[[Tensor], None], Tensor]] = [(torch.set_rng_state, torch.get_rng_state())]
    for name in ACCELERATORS:
        module = getattr(torch, name, None)
        if module is None or not module.is_available():
            continue
        if name == "mps":
            states.append((module.set_rng_state, module.get_rng_state()))
            continue
        for index in range(module.device_count()):
            states.append((lambda state, module=module, index=index: module.set_rng_state(state, index),
                           module.get_rng_state(index)))
    return states


def set_generators(states: list[tuple[Callable[[Tensor], None], Tensor]]) -> None:
    for restore, state in states:
        restore(state)
