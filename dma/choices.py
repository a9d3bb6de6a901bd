"""Options that are one of a few names."""
from __future__ import annotations

from collections.abc import Iterable


def check_choice(value: str, choices: Iterable[str], what: str) -> None:
    """Raise ValueError, naming `what` was chosen and all `choices`, unless `value` is one of them.

    >>> check_choice("linear", ("linear", "cubic"), "method")
    >>> check_choice("square", ("linear", "cubic"), "method")
    Traceback (most recent call last):
    ValueError: There is no method 'square': choose one of linear, cubic.
    """
    if value not in choices:
        raise ValueError(f"There is no {what} {value!r}: choose one of {', '.join(choices)}.")
