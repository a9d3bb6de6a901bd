"""A MODEL whose calls of the network are counted, and end in an interrupt or an error, as users or crashes do."""
from __future__ import annotations

import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open


class Calls:
    """`model`, a copy of a MODEL, counts in `count` the calls of its network. Set `before_call` to look at each number.

    The copy answers as the MODEL does, and keys of runs do not see what counts, so that a state kept of a run on one is
    gone on from with the other.
    """

    def __init__(self, model: Any):
        unseen_by_keys()
        self.count, self.before_call = 0, lambda count: None
        self.model = model.clone()
        self.model.set_model_unet_function_wrapper(self._call)

    def _call(self, function: Callable, arguments: dict) -> Any:
        self.count += 1
        self.before_call(self.count)
        return function(arguments["input"], arguments["timestep"], **arguments["c"])

    def during(self, function: Callable, *arguments: Any, **options: Any) -> tuple[int, Any]:
        """How many calls a function makes, and what it returns."""
        self.count = 0
        result = function(*arguments, **options)
        return self.count, result

    def stop_when(self, reached: Callable[[int], bool], end: str = "interrupt") -> type[Exception]:
        """Stop the run once, in the first call of which `reached(number)` is true; returns the exception to expect."""
        import comfy.model_management

        self.count = 0

        def stop(count: int) -> None:
            if reached(count):
                self.before_call = lambda count: None
                if end == "error":
                    raise RuntimeError("something else went wrong")
                comfy.model_management.interrupt_current_processing()
                comfy.model_management.throw_exception_if_processing_interrupted()

        self.before_call = stop
        return RuntimeError if end == "error" else comfy.model_management.InterruptProcessingException


def unseen_by_keys() -> None:
    """Have keys of runs pass over `Calls`, which no user's patch may be for them."""
    from mental_averages.nodes import comfyui

    content = comfyui.run_key.__globals__["_Content"]
    if not hasattr(content, "take_all"):
        content.take_all = content.take

        def take(self, place, value):
            if not (isinstance(value, types.MethodType) and isinstance(value.__self__, Calls)):
                self.take_all(place, value)

        content.take = take


def untouched(model: Any) -> Any:
    """A copy of a MODEL whose network must not be called: the test fails when work is started."""
    calls = Calls(model)
    calls.before_call = lambda count: pytest.fail("work was started")
    return calls.model


def saved_states(base: Path) -> dict[str, dict]:
    """What is known of each run whose state is kept under ComfyUI's folders in `base`, by the name of its file."""
    found = {}
    for path in sorted((base / "user" / "mental_averages" / "runs").glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found[path.stem] = json.loads(file.metadata()["meta"])
    return found
