"""How much like memorised pictures some are, beside references: a typed record that saves to JSON, and its table."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..choices import check_choice
from ..precision import in_double
from ..records import Record
from ..statistics import against_references, among_references, cautions
from ._memorisation import SCORES

FEWEST_APART = 3  # pictures
ONE_IN = 500  # sets of pictures that are like their references, of which one at most may be told to lie apart by chance


@dataclass(frozen=True)
class ScoreAmongReferences:
    """One kind of score (see `SCORES`) of each picture and each reference, with percentiles, the threshold above which
    a score is flagged, and flags (see `against_references`)."""

    name: str
    threshold: float
    scores: list[float]
    percentiles: list[float]
    flagged: list[bool]
    references: list[float]


@dataclass(frozen=True)
class MemorisationReport(Record):
    """Scores of several kinds, the one that the flag goes by first.

    settings: score (its name), false_positive_rate, how pictures were read, and what `cautions` tells.
    """

    FORMAT = "mental-averages/memorisation-report"
    NAME = "a report of memorisation"

    settings: dict
    scores: list[ScoreAmongReferences] = field(default_factory=list)
    seconds: float = 0.0

    def check(self) -> None:
        counts = {(len(each.scores), len(each.references)) for each in self.scores}
        if not self.scores or len(counts) > 1:
            raise ValueError("it has no scores, or not as many of each kind")
        for each in self.scores:
            if not len(each.scores) == len(each.percentiles) == len(each.flagged):
                raise ValueError(f"{each.name} has not as many percentiles and flags as scores")
            if not all(math.isfinite(value) for value in (*each.scores, *each.references, each.threshold)):
                raise ValueError(f"a score of {each.name} is not finite")

    @property
    def chosen(self) -> ScoreAmongReferences:
        """The score that the flag goes by."""
        return self.scores[0]

    @property
    def flagged(self) -> list[bool]:
        return self.chosen.flagged

    def table(self) -> str:
        """Score, percentile and flag of each picture as a Markdown table, and the percentiles of the other scores."""
        chosen, others = self.chosen, self.scores[1:]
        titles = ["picture", chosen.name, "percentile", "flag", *(f"percentile of {each.name}" for each in others)]
        rows = [[str(number + 1), f"{score:.4g}", f"{chosen.percentiles[number]:.1f}",
                 "flagged" if chosen.flagged[number] else "", *(f"{each.percentiles[number]:.1f}" for each in others)]
                for number, score in enumerate(chosen.scores)]
        lines = [titles, ["---"] * len(titles), *rows]
        return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + [
            "", f"{sum(chosen.flagged)} of {len(rows)} are above {chosen.threshold:.4g}, as at most "
            f"{self.settings['false_positive_rate']:.1%} of pictures are that are like the {len(chosen.references)} "
            "references.", *(line for caution in self.cautions for line in ("", caution))])

    @property
    def cautions(self) -> list[str]:
        """Sentences of what to bear in mind."""
        return [*self._apart(), *cautions(self.settings, len(self.chosen.references))]

    def _apart(self) -> list[str]:
        """What to think of where no picture lies among the references."""
        percentiles, references = self.chosen.percentiles, len(self.chosen.references)
        # Any of all may be the highest, and so on: of pictures like the references, all lie above or all below twice in
        # so many times.
        orders = math.comb(len(percentiles) + references, references)
        if len(percentiles) < FEWEST_APART or orders < 2 * ONE_IN:
            return []
        if any(percentiles) and not all(each == 100 for each in percentiles):
            return []
        above = percentiles[0] == 100
        return [f"All {len(percentiles)} pictures lie {'above' if above else 'below'} every reference: "
                f"{'all are known by heart, or ' * above}the two sets differ in something else, such as their "
                "kind, size, sharpness or the model that made them, and the rate does not hold."]


def memorisation_report(scores: Mapping[str, Tensor], references: Mapping[str, Tensor], chosen: str, *,
                        false_positive_rate: float, settings: dict | None = None, seconds: float = 0.0,
                        own: Tensor | None = None) -> MemorisationReport:
    """The report of scores (N,) of pictures, by kind, beside the same kinds (R,) of references; flags are those of the
    kind `chosen`. `false_positive_rate` is that of one kind alone, whichever that is. `own` (N, R), bool, says which
    references a picture is, which are left out of what it is compared with.

    Raises ValueError for kinds that differ or are unknown, and where `against_references` does.

    >>> import torch
    >>> report = memorisation_report({"norm": torch.tensor([3.0, 0.5])}, {"norm": torch.tensor([1.0, 2.0])}, "norm",
    ...                              false_positive_rate=0.4)
    >>> report.flagged, report.chosen.percentiles
    ([True, False], [100.0, 0.0])
    """
    for name in scores:
        check_choice(name, SCORES, "score")
    check_choice(chosen, list(scores), "score")
    if set(scores) != set(references):
        raise ValueError(f"Pictures have the scores {', '.join(scores)} and references {', '.join(references)}: both "
                         "need the same ones.")
    _check_one_count(list(scores.values()), "pictures")
    _check_one_count(list(references.values()), "references")
    kinds = [_among(name, scores[name], references[name], false_positive_rate, own)
             for name in sorted(scores, key=lambda name: (name != chosen, SCORES.index(name)))]
    return MemorisationReport({**(settings or {}), "score": chosen, "false_positive_rate": false_positive_rate,
                               **among_references(own)}, kinds, seconds)


def _check_one_count(values: Sequence[Tensor], what: str) -> None:
    if len({tuple(each.shape) for each in values}) > 1:
        raise ValueError(f"There are not as many {what} in each score.")


def _among(name: str, scores: Tensor, references: Tensor, rate: float, own: Tensor | None) -> ScoreAmongReferences:
    found = against_references(scores, references, false_positive_rate=rate, own=own)
    return ScoreAmongReferences(name, found.threshold, in_double(scores).tolist(), found.percentiles.tolist(),
                                found.flags.tolist(), in_double(references).tolist())
