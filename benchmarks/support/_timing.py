"""Seconds of a call, and the pass whose time is of interest: features and the gradient through them."""
from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def timed(function: Callable, *arguments: Any, **options: Any) -> tuple[float, Any]:
    """Seconds, and what the function returned. What a GPU still had to do before does not count, what it was given
    does."""
    wait_for_gpu()
    started = time.monotonic()
    result = function(*arguments, **options)
    wait_for_gpu()
    return time.monotonic() - started, result


def wait_for_gpu() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def median_seconds(function: Callable[[], object], repetitions: int,
                   clock: Callable[[], float] = time.perf_counter) -> float:
    """Median of a call's seconds. `time.process_time` counts the processor's, which other programs disturb less."""
    taken = []
    for _ in range(repetitions):
        started = clock()
        function()
        taken.append(clock() - started)
    return float(np.median(taken))


def with_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """function(x), and the gradient of the sum of its squares with respect to x."""
    leaf = x.clone().requires_grad_()
    with torch.enable_grad():
        found = function(leaf)
        return found.detach(), torch.autograd.grad(found.square().sum(), leaf)[0]
