"""Numbers that people type in a row, and lines that belong to inputs."""
from __future__ import annotations

import math


def words(text: str) -> list[str]:
    """What stands between spaces, commas, semicolons and ends of lines."""
    return text.replace(",", " ").replace(";", " ").split()


def filled_lines(text: str) -> list[str]:
    """The lines of a text that hold something, without spaces around them.

    >>> filled_lines(" one\\n\\ntwo ")
    ['one', 'two']
    """
    return [line.strip() for line in text.splitlines() if line.strip()]


def lines_of(names: list[str], text: str) -> list[str]:
    """The line of a text for each growing input of `names`, by the number at the end of its name; empty where there is
    none. One that is muted or left open takes its line with it.

    >>> lines_of(["images0", "images2"], "one\\ntwo\\nthree")
    ['one', 'three']
    """
    lines = text.splitlines()
    return [lines[number] if number < len(lines) else "" for number in map(number_of, names)]


def number_of(name: str) -> int:
    """The number at the end of a growing input's name.

    >>> number_of("images12")
    12
    """
    return int(name[len(name.rstrip("0123456789")) :])


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
