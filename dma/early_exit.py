"""Ending a forward pass at the layer whose output was asked for."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class _Reached(BaseException):
    """Carries the output out of the forward pass. Not an Exception, so that nothing on the way swallows it."""

    def __init__(self, output: Any):
        super().__init__()
        self.output = output


def output_of(layer: torch.nn.Module, forward: Callable[[], Any]) -> Any:
    """What `layer` returns while `forward()` runs, which ends there; None if the layer never ran.

    >>> first, second = torch.nn.Identity(), torch.nn.Linear(3, 3)
    >>> output_of(first, lambda: second(first(torch.ones(2)))).tolist()
    [1.0, 1.0]
    """
    def stop(module: torch.nn.Module, inputs: tuple, output: Any) -> None:
        raise _Reached(output)

    hook = layer.register_forward_hook(stop)
    try:
        forward()
    except _Reached as reached:
        return reached.output
    finally:
        hook.remove()
    return None
