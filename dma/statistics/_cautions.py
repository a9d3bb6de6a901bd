"""What to bear in mind of scores beside those of references, by the settings of their report."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ._references import fewest_references

OTHERWISE = "sampled_unlike_references"  # how scores were sampled as no reference was, in words, by numbers from 1
FROM_ZERO = "sampled_otherwise"  # the same in reports of old, by numbers from 0
NUMBERS = re.compile(r"^\d+(, \d+)*")  # what such words begin with
AMONG = "among_references"  # the numbers, from 1, of what is judged that is a reference, too
SHOWN = 8  # numbers in a sentence


def among_references(own: Tensor | None) -> dict[str, list[int]]:
    """The entry for a report's settings of what is judged that is among the references, as `own` (N, R) says; no entry
    for nothing.

    >>> among_references(torch.tensor([[False, False], [False, True]]))
    {'among_references': [2]}
    """
    rows = [] if own is None else own.any(1).nonzero().flatten().tolist()
    return {AMONG: [row + 1 for row in rows]} if rows else {}


def listed(numbers: Sequence[int]) -> str:
    """Numbers, the first eight of them.

    >>> listed([1, 3])
    '1, 3'
    """
    return f"{', '.join(map(str, numbers[:SHOWN]))}{' …' * (len(numbers) > SHOWN)}"


def cautions(settings: Mapping[str, Any], references: int) -> list[str]:
    """Sentences of what is to be borne in mind of a report that has so many references; none for nothing.

    >>> cautions({"among_references": [2], "false_positive_rate": 0.05}, 20)
    ['2: among the references, too, and compared with the others alone; the threshold is that of what is no reference.']
    """
    found = []
    among, otherwise = settings.get(AMONG, []), settings.get(OTHERWISE) or _from_one(settings.get(FROM_ZERO, []))
    if among:
        few = references - 1 < fewest_references(settings["false_positive_rate"])
        found.append(f"{listed(among)}: among the references, too, and compared with the others alone"
                     f"{', which are too few for a flag at this rate' * few}; the threshold is that of what is no "
                     "reference.")
    if otherwise:
        found.append(f"Sampled otherwise than every reference: {'; '.join(otherwise)}. The rate of false alarms is "
                     "that of what is sampled as the references are: being sampled otherwise may alone be why "
                     "these are flagged, or are not.")
    return found


def _from_one(told: Sequence[str]) -> list[str]:
    """Words that begin with numbers from 0, with those from 1, as marks and tables have them."""
    return [NUMBERS.sub(lambda found: ", ".join(str(int(number) + 1) for number in found[0].split(", ")), each, count=1)
            for each in told]
