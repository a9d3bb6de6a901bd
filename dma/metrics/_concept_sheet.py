"""Words by models: shares, spread, drift and doubts of every cell, as one table."""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..statistics import change_of_share, wilson_interval
from ._concept_cell import ConceptCell, doubts
from ._drift import FEWEST, drift, spread
from ._measure_table import Measure, MeasureTable

Cells = Sequence[Sequence[ConceptCell]]
WILSON, PAIRED, JACKKNIFE = "Wilson's interval", "Newcombe's interval of paired shares", "jackknife"
NO_ANSWER, OTHER_ANSWERS = "(no answer)", "(other answers)"
MOST_ANSWERS = 12  # of a word


def subject_of(word: str, column: str) -> str:
    return f"{word}, {column}"


def answers_of(cells: Cells, most: int = MOST_ANSWERS) -> list[str]:
    """What was seen in samples, the most frequent over all cells first, then in alphabetical order; of more than `most`
    the last stands for all others."""
    seen = Counter(answer for row in cells for cell in row for answer in cell.answers)
    found = [answer for answer, _ in sorted(seen.items(), key=lambda item: (-item[1], item[0]))]
    return found if len(found) <= most else [*found[: most - 1], OTHER_ANSWERS]


def concept_table(words: Sequence[str], columns: Sequence[str], cells: Cells, attributes: Sequence[str],
                  settings: dict) -> MeasureTable:
    """The measures of cells, of which `cells` has a row for each word and in it one for each column.

    For every cell: the share of samples with each attribute, with Wilson's interval; how it changed from the column
    before, with Newcombe's for paired shares; `spread` and `drift` of its samples' features; how far the average's
    features moved; the relative error of the average; and `flags`, the number of its doubts, which the note lists. What
    has no column before it, and what failed, says so in its note.

    attributes: what shares are given of; where there are none, `answers_of` the cells of each word: what is answered
    about one word may never be about another, and free answers may be as many as there are samples.

    Raises ValueError unless there is a cell for each word and column.

    >>> table = concept_table(["heart"], ["base"], [[ConceptCell(problem="no such file")]], [], {})
    >>> table.rows[0].subject, table.rows[0].name, table.rows[0].note
    ('heart, base', 'average', 'no such file')
    """
    if len(cells) != len(words) or any(len(row) != len(columns) for row in cells):
        raise ValueError(f"{len(words)} words and {len(columns)} columns need a cell each.")
    rows: list[Measure] = []
    for word, row in zip(words, cells):
        before: ConceptCell | None = None
        looked_for = attributes or answers_of([row])
        for column, cell in zip(columns, row):
            rows += _measures(subject_of(word, column), before, cell, looked_for)
            before = cell
    return MeasureTable(settings, rows)


def _measures(subject: str, before: ConceptCell | None, cell: ConceptCell, attributes: Sequence[str]) -> list[Measure]:
    if cell.problem:
        return [Measure(subject, "average", None, note=cell.problem)]
    found, flags, count = [], doubts(cell), len(cell.features)
    known = before if before is not None and not before.problem else None
    if cell.answers:
        seen = _among(attributes, cell)
        for attribute in attributes:
            had = [answer == attribute for answer in seen]
            low, high = wilson_interval(sum(had), len(had))
            found.append(Measure(subject, f"share of {attribute or NO_ANSWER}", sum(had) / len(had), low, high,
                                 count=len(had), note=WILSON))
            if known is not None and len(known.answers) == len(had):
                change = change_of_share([answer == attribute for answer in _among(attributes, known)], had)
                found.append(Measure(subject, f"change of {attribute or NO_ANSWER}", *change, count=len(had),
                                     note=PAIRED))
                if change.low > 0 or change.high < 0:
                    flags.append(f"{'more' if change.low > 0 else 'fewer'} with {attribute or NO_ANSWER}")
    if count >= FEWEST:
        found.append(Measure.of(subject, "spread", spread(cell.features), count=count, note=JACKKNIFE))
    if known is not None and known.own_features.shape == cell.own_features.shape:
        found.append(Measure(subject, "average moved", (cell.own_features - known.own_features).norm().item()))
        if count >= FEWEST and known.features.shape == cell.features.shape:
            found.append(_drift(subject, known, cell))
    elif before is not None:
        found.append(Measure(subject, "drift", None, note="the column before has no cell to compare with"))
    if cell.mean_error is not None:
        found.append(Measure(subject, "error of the average", cell.mean_error))
    return [*found, Measure(subject, "flags", float(len(flags)), note="; ".join(flags))]


def _among(attributes: Sequence[str], cell: ConceptCell) -> list[str]:
    """The answers of a cell, those that are not among the attributes by what stands for all others."""
    return [answer if answer in attributes or OTHER_ANSWERS not in attributes else OTHER_ANSWERS
            for answer in cell.answers]


def _drift(subject: str, before: ConceptCell, cell: ConceptCell) -> Measure:
    try:
        found = drift(before.features, cell.features)
    except ValueError as error:
        return Measure(subject, "drift", None, note=str(error))
    return Measure.of(subject, "drift", found, count=len(cell.features), note=JACKKNIFE)
