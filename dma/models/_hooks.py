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


def outputs_of(layers: list[tuple[torch.nn.Module, Callable[[Any], None]]], forward: Callable[[], Any]) -> None:
    """Hand what each of several layers returns to its function, at once, while `forward()` runs, which ends with the
    last.

    Nothing is kept here. Layers that never run are not heard of; a layer that runs again is heard of again.

    >>> first, second, heard = torch.nn.Identity(), torch.nn.Identity(), []
    >>> outputs_of([(second, heard.append), (first, heard.append)], lambda: second(first("output")))
    >>> heard
    ['output', 'output']
    """
    waiting = {id(layer) for layer, _ in layers}

    def heard(module: torch.nn.Module, output: Any, take: Callable[[Any], None]) -> None:
        take(output)
        waiting.discard(id(module))
        if not waiting:
            raise _Reached(None)

    hooks = []
    try:
        for layer, take in layers:
            hooks.append(
                layer.register_forward_hook(lambda module, inputs, output, take=take: heard(module, output, take)))
        forward()
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
