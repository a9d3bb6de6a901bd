"""Numbers that each mode of AlignModes may have of its own."""
from __future__ import annotations

from ..inputs import check_number
from ..training import MOST_VECTORS

NO_ADAPTER, LORA, EMBEDDING = "none", "lora", "embedding"
# What a line of overrides may change, how it is read, and from where to where it goes; the rest is the same for all
# modes.
NUMBERS = {"count": (int, 1, 100000), "cfg": (float, 0.0, 100.0), "seed": (int, 0, 2**64 - 1),
           "steps": (int, 1, 100000), "learning_rate": (float, 1e-7, 1.0), "rank": (int, 1, 1024),
           "vectors": (int, 1, MOST_VECTORS)}
SAMPLING_STEPS = (int, 2, 1000)
OF_AVERAGE = ("count", "cfg", "seed")
OF_ADAPTER = {NO_ADAPTER: ("cfg", "seed"), LORA: (*OF_AVERAGE, "steps", "learning_rate", "rank"),
              EMBEDDING: (*OF_AVERAGE, "steps", "learning_rate", "vectors")}


def parse_overrides(text: str) -> dict[int, dict[str, float]]:
    """What each mode has of its own: lines "mode: name=value, name=value"; empty ones are skipped.

    Raises ValueError with a sentence for the user for anything else.
    """
    found: dict[int, dict[str, float]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        mode, colon, assignments = line.partition(":")
        if not colon or not mode.strip().isdecimal():
            raise ValueError(f"The line {line!r} of overrides does not begin with a mode's number and a colon: write, "
                             "for example, '1: steps=500'.")
        if int(mode) in found:
            raise ValueError(f"Mode {int(mode)} has two lines of overrides: put them into one.")
        values = found[int(mode)] = {}
        for assignment in filter(None, map(str.strip, assignments.split(","))):
            name, _, value = (part.strip() for part in assignment.partition("="))
            if name not in NUMBERS:
                raise ValueError(f"Overrides cannot change {name!r} (line {line!r}): choose among "
                                 f"{', '.join(NUMBERS)}.")
            kind = NUMBERS[name][0]
            try:
                values[name] = kind(value)
            except ValueError:
                raise ValueError(f"{value!r} is not a {'whole ' if kind is int else ''}number for {name} (line "
                                 f"{line!r}).") from None
            check_number(name, values[name], *NUMBERS[name], where=f" (line {line!r})")
    return found
