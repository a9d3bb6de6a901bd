"""The tables and figures of mean_shift.py."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from _grid import Point, Quality
from support import print_table

# Of one table: what was measured on a schedule (scheduler, steps), by choice, for every concept.
Measured = dict[tuple[str, int], dict[Point, list[Quality]]]


def share_of(point: Point) -> float:
    """The share of guidance in the averaged levels."""
    return (point.averaging - 1) / (point.finishing - 1) if point.finishing != 1 else 1.0


def in_words(rows: Sequence[Quality]) -> list[str]:
    """Means over concepts; of sharpness and brightness also the least and the largest, since one dark picture is a
    fault."""
    values = np.array(rows)  # (concepts, 4)
    return [f"{values[:, 0].mean():.3f}", f"{values[:, 1].mean():.3f}",
            *(f"{column.mean():.2f} ({column.min():.2f}-{column.max():.2f})" for column in values[:, 2:].T)]


def print_rows(measured: Measured) -> None:
    """A row for each choice on each schedule."""
    print_table(["scheduler", "steps", "guidance", "share", "levels", "K", "noises", "restored noise",
                 "agreement", "typical", "sharpness", "brightness"],
                [[scheduler, str(steps), f"{point.finishing:g}", f"{share_of(point):.2f}", str(point.levels),
                  str(point.count), "pairs" if point.pairs else "independent", f"{point.noise:.2f}", *in_words(found)]
                 for (scheduler, steps), choices in measured.items()
                 for point, found in sorted(choices.items(), key=lambda pair: pair[0].finishing)])


def print_matrices(measured: Measured) -> None:
    """Share by levels for each guidance and restored noise: agreement / typical / sharpness / brightness."""
    (choices,) = measured.values()
    values = {point: np.array(found).mean(axis=0) for point, found in choices.items()}
    shares, levels = ({f"{share_of(point):.2f}": None for point in values}, sorted({point.levels for point in values}))
    for guidance, noise in sorted({(point.finishing, point.noise) for point in values}):
        print(f"\nguidance {guidance:g}, restored noise {noise:g}: agreement / typical / sharpness / brightness\n")
        print_table(["share", *(f"{level} levels" for level in levels)],
                    [[share, *(" / ".join(f"{value:.2f}" for value in found) for level in levels
                               for point, found in values.items()
                               if (point.finishing, point.noise, point.levels) == (guidance, noise, level)
                               and f"{share_of(point):.2f}" == share)] for share in sorted(shares)])


def figures_of(measured: Measured) -> dict[str, float]:
    figures = {}
    for (scheduler, steps), choices in measured.items():
        for point, found in choices.items():
            key = f"{scheduler}_{steps}_g{point.finishing:g}_share{share_of(point):.2f}_levels{point.levels}" \
                  f"_k{point.count}{'' if point.pairs else '_independent'}_noise{point.noise:g}"
            figures |= {f"{name}_{key}": float(np.mean([getattr(each, name) for each in found]))
                        for name in Quality._fields}
    return figures
