"""Tables of measures joined into one, in which nothing stands beside what it is not comparable with without a word."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ._joined_references import Beside, reference_labels
from ._measure_table import Measure, MeasureTable
from ._measured_by import (
    ASKED,
    BY_AN_ENCODER,
    ENCODER,
    KERNEL,
    PICTURES_KEY,
    PROMPT,
    REFERENCE,
    REWARD_MODEL,
    SHARES,
    SUBSET,
    TAKEN_BY,
    called,
    is_taken_by,
    kept_settings,
    parts,
    references,
    values,
)
from ._picture_scores import ABSOLUTE, SHARPNESS

Values = Mapping[str, Sequence[Any]]  # what numbers were taken by, by the name of the setting


def joined(tables: Sequence[MeasureTable], names: Sequence[str] = ()) -> MeasureTable:
    """One table of several.

    Where `names` has a name for a table, what was measured there is called by it: alone if it is one thing, and with
    its own name after it if there are several, as the pictures of a batch are. A reference that tables share is there
    once; others are called after the table. Numbers of different encoders, kernel distances with different subsets, and
    sharpness that is relative to a reference and that is not are in columns of their own, which name them; a note says
    which reference, prompt or question a number belongs to where tables have different ones. So it is with tables that
    were joined before, and with those that were joined of them. `differences` has sentences of it.

    Raises ValueError for no tables, for a table that is called "reference", where two different rows would have one
    subject and one measure, and where different pictures would have one name, as far as `images_key` of their settings
    tells them apart.

    >>> tables = [MeasureTable({"encoder": encoder}, [Measure("pictures", "CMMD", value)])
    ...           for encoder, value in (("clip", 1.0), ("dino", 2.0))]
    >>> found = joined(tables, ["plain", "average"])
    >>> found.subjects(), found.names()
    (['plain', 'average'], ['CMMD by clip', 'CMMD by dino'])
    """
    if not tables:
        raise ValueError("There are no tables to join.")
    given = [*names, *[""] * len(tables)][: len(tables)]
    if REFERENCE in given:
        raise ValueError(f"A table is called {REFERENCE!r}, which is what the set is called that pictures are compared "
                         "with: choose another name.")
    if len(tables) == 1 and not given[0]:
        return tables[0]
    labels = [name or _label(table, number) for number, (name, table) in enumerate(zip(given, tables), 1)]
    references_called = reference_labels(tables, labels)
    taken, relative = _taken_by(tables), any(row.name == SHARPNESS and row.note != ABSOLUTE
                                             for table in tables for row in table.rows)
    found: dict[tuple[str, str], Measure] = {}
    pictures: dict[str, set[str]] = {}
    for table, name, label in zip(tables, given, labels):
        beside, own = Beside.of(table, references_called), _taken_by([table])
        others = beside.subjects()
        subjects = _subjects(table, name, others)
        # A table that was joined from several does not say which of its pictures are whose.
        keys = {part[PICTURES_KEY] for part in parts(table) if part.get(PICTURES_KEY)}
        for subject, renamed in subjects.items():
            if keys and subject not in others and pictures.setdefault(renamed, keys).isdisjoint(keys):
                raise ValueError(f"Two tables have different pictures that are called {renamed!r}: give each table a "
                                 "name of its own.")
        for row in table.rows:
            told = replace(beside.told(_told(row, own, taken, relative)), subject=subjects[row.subject])
            if row.subject in others and found.get((told.subject, told.name), told) != told:
                # The same, measured by something else.
                told = replace(told, subject=f"{label}, {REFERENCE if row.subject == REFERENCE else told.subject}")
            if found.setdefault((told.subject, told.name), told) != told:
                raise ValueError(f"Two tables have the measure {told.name} of {told.subject!r}: give each table a name "
                                 "of its own.")
    settings = tables[0].settings if len(tables) == 1 else {
        f"{number}. {name}".strip(): kept_settings(table, references_called)
        for number, (name, table) in enumerate(zip(given, tables), 1)}
    return MeasureTable(settings, list(found.values()))


def differences(tables: Sequence[MeasureTable]) -> list[str]:
    """Sentences of what tables were not measured alike by.

    >>> differences([MeasureTable({"encoder": name}, [Measure("a", "CMMD", 1.0)]) for name in ("clip", "dino")])
    ['The tables are of different encoders (clip, dino): each has columns of its own.']
    """
    found = []
    taken = _taken_by(tables)
    encoders, rewards, subsets, prompts, asked = (
        taken[setting] for setting in (ENCODER, REWARD_MODEL, SUBSET, PROMPT, ASKED))
    if len(encoders) > 1:
        found.append(f"The tables are of different encoders ({_listed(encoders)}): each has columns of its own.")
    if len(rewards) > 1:
        found.append(f"ImageReward is by different models ({_listed(rewards)}): each has a column of its own.")
    if len(subsets) > 1:
        found.append(f"Kernel distances are of different subsets ({_listed(subsets)}; 0 is all pictures): each has a "
                     "column of its own.")
    if len({key for table in tables for key in references(table)}) > 1:
        found.append("The tables have different references: a note says which a number belongs to.")
    if len(prompts) > 1:
        found.append("The tables have different prompts: a note says which a number belongs to.")
    if len(asked) > 1:
        found.append("Shares are of different prompts or questions: a note says which a share belongs to.")
    return found


def _told(row: Measure, own: Values, taken: Values, relative: bool) -> Measure:
    """A row that says what it was measured by, where the tables differ in it: `own` is what numbers of its table were
    taken by, `taken` those of all; `relative` says whether some sharpness is relative to a reference.

    Of a table that was joined from several, numbers that were not taken alike say already what each was taken by.
    """
    notes = [row.note]
    # What shares are of may be called anything, so that their names do not tell whether they say an encoder already.
    is_share = row.name.startswith(SHARES)
    measure, by, of = called(row.name)
    unsaid = len(own[ENCODER]) < 2 if is_share else measure in BY_AN_ENCODER and not by
    if unsaid and len(taken[ENCODER]) > 1:
        by = f" by {_described(own[ENCODER], 'an encoder without a name')}"
        notes.append("not comparable with numbers by another encoder")
    if is_taken_by(row.name, REWARD_MODEL) and not by and len(taken[REWARD_MODEL]) > 1:
        by = f" by {_described(own[REWARD_MODEL], 'a model without a name')}"
        notes.append("not comparable with numbers by another model")
    if measure == KERNEL and not of and len(taken[SUBSET]) > 1:
        sizes = own[SUBSET]
        of = ", all pictures" if sizes == [0] else f", subsets of {_described(sizes, 'any size')}"
    if (row.name, row.note) == (SHARPNESS, ABSOLUTE) and relative:
        of = f", {ABSOLUTE}"
    if is_taken_by(row.name, PROMPT) and len(own[PROMPT]) < 2 and len(taken[PROMPT]) > 1:
        notes.append(f"prompt {_described(own[PROMPT], 'unknown')!r}")
    if is_share and len(own[ASKED]) < 2 and len(taken[ASKED]) > 1:
        asked = _described(own[ASKED], "unknown prompts")
        notes.append(f"of {', '.join(asked.splitlines())!r}")
    return replace(row, name=f"{measure}{by}{of}", note="; ".join(filter(None, notes)))


def _taken_by(tables: Iterable[MeasureTable]) -> Values:
    """What the numbers of tables were taken by, each value once, by the name of the setting."""
    return {setting: list(dict.fromkeys(value for table in tables for value in values(table, setting)))
            for setting in TAKEN_BY}


def _subjects(table: MeasureTable, name: str, others: Mapping[str, str]) -> dict[str, str]:
    """What each subject of a table is called in the joined one; `others` has what its references are."""
    several = len([subject for subject in table.subjects() if subject not in others]) > 1

    def renamed(subject: str) -> str:
        if subject in others or not name:
            return others.get(subject, subject)
        return f"{name}, {subject}" if several else name

    return {subject: renamed(subject) for subject in table.subjects()}


def _label(table: MeasureTable, number: int) -> str:
    own = [subject for subject in table.subjects() if subject != REFERENCE]
    return own[0] if len(own) == 1 else f"table {number}"


def _described(values: Sequence[Any], unknown: str) -> str:
    return " or ".join(unknown if value is None else str(value) for value in values) or unknown


def _listed(values: Sequence[Any]) -> str:
    return ", ".join("without a name" if value is None else str(value) for value in values)
