"""A table of measures with their intervals: a typed record that saves to JSON and CSV."""
from __future__ import annotations

import csv
import io
import math
from dataclasses import astuple, dataclass, field, fields

from ..records import Record
from ._estimate import Estimate

LOWER, HIGHER = "lower", "higher"
NOTHING, SMALL = 1e-12, 1e-4


@dataclass(frozen=True)
class Measure:
    """One number: of what (`subject`), which (`name`), its 95 % interval, and over how many pictures.

    `better` is "lower", "higher" or "" where neither is. A measure that could not be taken has the value None, and
    `note` says why; with a value it says how the interval was found.
    """

    subject: str
    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    better: str = ""
    count: int = 0
    note: str = ""

    @classmethod
    def of(cls, subject: str, name: str, found: Estimate, *, better: str = "", count: int = 0,
           note: str = "") -> Measure:
        """A row of an estimate."""
        return cls(subject, name, *found, better, count, note)

    def text(self) -> str:
        """The number with its interval, in three significant digits of the number; in powers of ten below 0.0001.

        >>> Measure("average", "FID", 12.3456, 11.1, 13.9).text(), Measure("average", "KID", None).text()
        ('12.3 (11.1 to 13.9)', '-')
        >>> Measure("average", "latent error", 1.234e-7, 1e-7, 2e-7).text()
        '1.23e-07 (1e-07 to 2e-07)'
        """
        if self.value is None:
            return "-"
        size = abs(self.value)
        digits = 3 if size < NOTHING else max(0, 2 - math.floor(math.log10(size)))
        written = ".3g" if NOTHING <= size < SMALL else f".{digits}f"
        value = format(self.value, written)
        if self.low is None or self.high is None:
            return value
        return f"{value} ({self.low:{written}} to {self.high:{written}})"


@dataclass(frozen=True)
class MeasureTable(Record):
    """How things were measured, and the measures in their order."""

    FORMAT = "mental-averages/measure-table"
    NAME = "a table of measures"

    settings: dict
    rows: list[Measure] = field(default_factory=list)

    def check(self) -> None:
        for row in self.rows:
            numbers = [each for each in (row.low, row.value, row.high) if each is not None]
            if not all(map(math.isfinite, numbers)):
                raise ValueError(f"the {row.name} of {row.subject!r} is not finite")
            if numbers != sorted(numbers):
                raise ValueError(f"the {row.name} of {row.subject!r} is outside its interval")
            if row.better not in ("", LOWER, HIGHER):
                raise ValueError(f"{row.better!r} is neither {LOWER!r} nor {HIGHER!r}")

    def to_csv(self) -> str:
        """The rows as comma-separated values with a line of names above; what is None is left empty.

        >>> print(MeasureTable({}, [Measure("average", "FID", 12.5)]).to_csv().strip())
        subject,name,value,low,high,better,count,note
        average,FID,12.5,,,,0,
        """
        written = io.StringIO()
        lines = csv.writer(written, lineterminator="\n")
        lines.writerow([each.name for each in fields(Measure)])
        lines.writerows(astuple(row) for row in self.rows)
        return written.getvalue()

    def subjects(self) -> list[str]:
        """What was measured, each once, in the order of the rows."""
        return list(dict.fromkeys(row.subject for row in self.rows))

    def names(self) -> list[str]:
        """The measures, each once, in the order of the rows."""
        return list(dict.fromkeys(row.name for row in self.rows))
