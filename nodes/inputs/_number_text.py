"""Numbers that people type in a row."""
from __future__ import annotations

import math


def words(text: str) -> list[str]:
    """What stands between spaces, commas, semicolons and ends of lines."""
    return text.replace(",", " ").replace(";", " ").split()


def numbers(text: str, name: str, example: str, kind: type = float) -> list:
    """One or more finite numbers of a kind, int or float. Raises ValueError, with `name` and an `example`, for other
    texts.

    >>> numbers("2, 8; 32", "counts", "2, 8", int)
    [2, 8, 32]
    """
    try:
        found = [kind(word) for word in words(text)]
    except ValueError:
        raise ValueError(f"The {name} {text!r} are not a row of {'whole ' if kind is int else ''}numbers: write for "
                         f"example {example}.") from None
    if not found or not all(map(math.isfinite, found)):
        raise ValueError(f"There are no {name}, or one is not finite: write for example {example}.")
    return found
