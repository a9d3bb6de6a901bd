"""How unusual samples are in the last steps of their sampling: a typed record that saves to JSON."""
from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..records import Record
from ..statistics import against_references, among_references, cautions


@dataclass(frozen=True)
class HallucinationReport(Record):
    """The scores (see `trailing_variance`) of samples and of references.

    settings: the false positive rate, of the sampling the last steps and their noise levels, and what `cautions` tells.
    percentiles, flagged: of each sample among the references (see `against_references`).
    threshold: the score above which a sample is flagged.
    """

    FORMAT = "mental-averages/hallucination-report"
    NAME = "a report of the last steps of samples"

    settings: dict
    threshold: float
    scores: list[float] = field(default_factory=list)
    percentiles: list[float] = field(default_factory=list)
    flagged: list[bool] = field(default_factory=list)
    references: list[float] = field(default_factory=list)

    def check(self) -> None:
        if not len(self.scores) == len(self.percentiles) == len(self.flagged):
            raise ValueError("it has not as many percentiles and flags as scores")
        if not all(math.isfinite(value) and value >= 0 for value in (*self.scores, *self.references, self.threshold)):
            raise ValueError("a score is negative or not finite")

    @property
    def cautions(self) -> list[str]:
        """Sentences of what to bear in mind."""
        return cautions(self.settings, len(self.references))


def hallucination_report(scores: list[float], references: list[float], *, false_positive_rate: float,
                         settings: dict, own: Tensor | None = None) -> HallucinationReport:
    """The report of scores beside those of references, of which `own` (N, R) says which are those of a score. Raises
    ValueError where `against_references` does.

    >>> report = hallucination_report([3.0, 0.5], [1.0, 2.0], false_positive_rate=0.4, settings={})
    >>> report.flagged, report.percentiles
    ([True, False], [100.0, 0.0])
    """
    found = against_references(torch.tensor(scores, dtype=torch.float64),
                               torch.tensor(references, dtype=torch.float64), false_positive_rate=false_positive_rate,
                               own=own)
    return HallucinationReport({**settings, "false_positive_rate": false_positive_rate, **among_references(own)},
                               found.threshold, list(scores), found.percentiles.tolist(), found.flags.tolist(),
                               list(references))
