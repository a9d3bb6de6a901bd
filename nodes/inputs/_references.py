"""References that a flag is told by."""
from __future__ import annotations

import math

from ...dma.statistics import fewest_references


def check_reference_count(count: int, what: str, rate: float, advice: str) -> None:
    """Raise ValueError, with advice on how to get more, where so many references are too few for a false positive
    rate."""
    needed = fewest_references(rate)
    if count < needed:
        # Rounded up: at less than 1 / (count + 1) nothing could be flagged.
        least = math.ceil(1000 / (count + 1)) / 1000
        raise ValueError(f"references holds {count} {what}, but a false positive rate of {rate:g} needs at least "
                         f"{needed}: {advice}, or choose {least:g} or more.")
