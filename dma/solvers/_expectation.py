"""How many iterations are still to come, from what earlier matches have gained."""
from __future__ import annotations

import math
from collections.abc import Sequence

from ._solver import PastMatch

# How likely a match that ended on a plateau is taken to be followed by one that does;
# benchmarks/alignment/alignment_speed.py shows how near the estimates come.
PLATEAU_AGAIN = 0.75


def iterations_ahead(past: Sequence[PastMatch], residual: float, steps: int, *, iterations: int, tolerance: float,
                     plateau: float) -> float:
    """Iterations per latent to be expected of `steps` matches, the first of which starts from `residual`.

    `past` are the matches so far, one for each noise level, of a solver that ends at `iterations`, at `tolerance`, or
    on a plateau (see `Tracker`). No match is taken to need more iterations than the last one that had any, and every
    change of the noise level to multiply what was left as the last change did. How much an iteration gains is not
    known where that match ended on a plateau: the residual may fall as it fell there on the whole, or as if no plateau
    were met again. What is expected lies between, nearer to the first.

    >>> halved_ten_times = PastMatch([1.0], [2**-10], [10])
    >>> round(iterations_ahead([halved_ten_times], 2**-8, 1, iterations=40, tolerance=2**-12, plateau=0), 3)
    4.0
    """
    matched = next((match for match in reversed(past) if sum(match.iterations)), None)
    if matched is None:
        return 0.0
    most = sum(matched.iterations) / len(matched.iterations)
    gained = plain = 0.0
    for before, after, taken in zip(matched.residual_before, matched.residual_after, matched.iterations):
        if after > 0:
            gained += math.log(before / after)
            met_plateau = plateau and taken < iterations and tolerance < after < before
            # What is above the plateau falls to the share `plateau` of it.
            plain += math.log((before - after) / (plateau * after)) if met_plateau else math.log(before / after)
    rate, faster = gained / sum(matched.iterations), max(gained, plain) / sum(matched.iterations)
    change = residual / max(1e-30, sum(past[-1].residual_after) / len(past[-1].residual_after))
    total = 0.0
    for _ in range(steps):
        if residual <= tolerance:
            break
        needed = [min(most, math.log(residual / tolerance) / each) if tolerance and each > 0 else most
                  for each in (rate, faster)]
        expected = (1 - PLATEAU_AGAIN) * needed[1] + PLATEAU_AGAIN * needed[0]
        total += expected
        residual *= math.exp(-rate * expected) * change
    return total
