"""One check of what a node was given against what its widgets would take.

ComfyUI compares with the limits of a widget only what was typed into it, not what comes over a link, takes NaN for a
number within any limits, and leaves a dynamic input out whose choice it does not know.
"""
from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection
from numbers import Integral, Real
from typing import Any

from comfy_api.latest import io

from ...dma.choices import check_choice

MISSING = object()


def checked(*, elsewhere: Collection[str] = ()) -> Callable[[Callable], Callable]:
    """A decorator for the `execute` of a node, which then raises ValueError, before anything else, for values that the
    node's widgets would not take. Inputs named `elsewhere` are checked by the node itself.

    It stands below `@classmethod`.
    """
    def decorate(execute: Callable) -> Callable:
        signature = inspect.signature(execute)

        @functools.wraps(execute)
        def run(cls: type[io.ComfyNode], *args: Any, **values: Any) -> Any:
            given = signature.bind_partial(cls, *args, **values).arguments
            for item in cls.define_schema().inputs:
                if item.id not in elsewhere:
                    check_input(item, given.get(item.id, MISSING), item.id)
            return execute(cls, *args, **values)

        return run

    return decorate


def check_input(item: io.Input, value: Any, name: str, *, left_out: tuple[Any, ...] = (MISSING,)) -> None:
    """Raise ValueError, calling the input `name`, unless a widget of this schema would take the value.

    An optional input may be left out, which the values `left_out` stand for. None stands for that also where it is what
    the input is without a value; elsewhere a number that is None would be an error further inside.
    """
    if item.optional and (any(value is nothing for nothing in left_out) or (value is None and getattr(item, "default", None) is None)):
        return
    if isinstance(item, io.DynamicCombo.Input):
        check_dynamic(item, {} if value is MISSING else value, name)
    elif value is MISSING:
        raise ValueError(f"{name} is missing: connect something to it or choose a value.")
    elif isinstance(item, io.Int.Input):
        check_number(name, value, int, item.min, item.max)
    elif isinstance(item, io.Float.Input):
        check_number(name, value, float, item.min, item.max)
    elif isinstance(item, io.Combo.Input) and item.options:
        check_choice(value, item.options, name)
    elif isinstance(item, io.String.Input) and not isinstance(value, str):
        raise ValueError(f"{name} is no text but {described(value)}: connect a text or type one.")


def check_dynamic(item: io.DynamicCombo.Input, given: dict[str, Any], name: str) -> None:
    """Raise ValueError unless one of the options is chosen and the inputs that it brings are what they should be."""
    options = {option.key: option.inputs for option in item.options}
    # A choice that comes over a link, or that there is not, never arrives: ComfyUI looks its inputs up by it.
    if not isinstance(given, dict) or item.id not in given:
        raise ValueError(f"{name} has no choice that this node knows, or one that comes over a link: choose one of "
                         f"{', '.join(options)} on the node itself.")
    check_choice(given[item.id], list(options), name)
    for nested in options[given[item.id]]:
        # ComfyUI hands over None for an input of a choice that the graph does not name.
        check_input(nested, given.get(nested.id, MISSING), f"{name}.{nested.id}", left_out=(MISSING, None))


def check_number(name: str, value: Any, kind: type, lowest: float | None = None, highest: float | None = None,
                 where: str = "") -> None:
    """Raise ValueError unless a value is a finite number, whole for the kind int, from `lowest` to `highest`.

    `where` is said after the value.
    """
    fits = isinstance(value, Integral if kind is int else Real)
    limits = f"from {lowest} to {highest}" if None not in (lowest, highest) else "that is finite"
    advice = f"choose a {'whole ' * (kind is int and not fits)}number {limits}."
    if not isinstance(value, Real):
        raise ValueError(f"{name} is no number but {described(value)}{where}: {advice}")
    if not (fits and (isinstance(value, Integral) or math.isfinite(value))
            and (lowest is None or value >= lowest) and (highest is None or value <= highest)):
        raise ValueError(f"{name} is {value}{where}: {advice}")


def described(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
