"""Tables of measures joined into one, in which nothing stands beside what it is not comparable with without a word."""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ._measure_table import Measure, MeasureTable
from ._picture_scores import ABSOLUTE, SHARPNESS

REFERENCE = "reference"  # what the set is called that others are compared with
KERNEL = "kernel distance"
BESIDE_A_REFERENCE = ("sharpness", "brightness", "representativeness", "distance to the mean", "Fréchet distance",
                      KERNEL, "CMMD", "typicality")
BY_AN_ENCODER = (*BESIDE_A_REFERENCE[2:], "consistency", "consistency within", "diversity", "CLIP-T", "spread", "drift",
                 "average moved")
SHARES = ("share of ", "change of ")  # what the names of measures by an encoder begin with
BY_A_PROMPT = ("CLIP-T", "ImageReward")
BY_A_REWARD_MODEL = ("ImageReward",)
ENCODER, REWARD_MODEL, SUBSET, PROMPT, ASKED = (  # settings
    "encoder", "reward_model", "subset_size", "prompt", "attribute_text")
REFERENCE_KEY, PICTURES_KEY = "reference_key", "images_key"
# What a measure is called that was joined before: by what, and with which subsets.
CALLED = re.compile(r"(?P<measure>.*?)(?P<by> by .*?)?(?P<subsets>, (?:all pictures|subsets of .*))?")


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
    found: dict[tuple[str, str], Measure] = {}
    pictures: dict[str, set[str]] = {}
    owners = _reference_owners(tables, labels)
    for table, name, label, owner in zip(tables, given, labels, owners):
        subjects = _subjects(table, name, owner if len(set(owners) - {""}) > 1 else "")
        for subject, renamed in subjects.items():
            # A table that was joined from several does not say which of its pictures are whose.
            keys = {key for key in _of(table, PICTURES_KEY) if key}
            if keys and subject != REFERENCE and pictures.setdefault(renamed, keys).isdisjoint(keys):
                raise ValueError(f"Two tables have different pictures that are called {renamed!r}: give each table a "
                                 "name of its own.")
        for row in table.rows:
            told = replace(_told(row, table, tables, owner, owners), subject=subjects[row.subject])
            if row.subject == REFERENCE and found.get((told.subject, told.name), told) != told:
                told = replace(told, subject=f"{label}, {REFERENCE}")  # the same, measured by something else
            if found.setdefault((told.subject, told.name), told) != told:
                raise ValueError(f"Two tables have the measure {told.name} of {told.subject!r}: give each table a name "
                                 "of its own.")
    settings = tables[0].settings if len(tables) == 1 else {
        f"{number}. {name}".strip(): table.settings for number, (name, table) in enumerate(zip(given, tables), 1)}
    return MeasureTable(settings, list(found.values()))


def differences(tables: Sequence[MeasureTable]) -> list[str]:
    """Sentences of what tables were not measured alike by.

    >>> differences([MeasureTable({"encoder": name}, [Measure("a", "CMMD", 1.0)]) for name in ("clip", "dino")])
    ['The tables are of different encoders (clip, dino): each has columns of its own.']
    """
    found = []
    encoders, rewards, subsets, prompts, asked = (_values(tables, *each) for each in (
        (ENCODER, BY_AN_ENCODER + SHARES), (REWARD_MODEL, BY_A_REWARD_MODEL), (SUBSET, (KERNEL,)),
        (PROMPT, BY_A_PROMPT), (ASKED, SHARES)))
    if len(encoders) > 1:
        found.append(f"The tables are of different encoders ({_listed(encoders)}): each has columns of its own.")
    if len(rewards) > 1:
        found.append(f"ImageReward is by different models ({_listed(rewards)}): each has a column of its own.")
    if len(subsets) > 1:
        found.append(f"Kernel distances are of different subsets ({_listed(subsets)}; 0 is all pictures): each has a "
                     "column of its own.")
    if len(set(_reference_owners(tables, [str(number) for number in range(len(tables))])) - {""}) > 1:
        found.append("The tables have different references: a note says which a number belongs to.")
    if len(prompts) > 1:
        found.append("The tables have different prompts: a note says which a number belongs to.")
    if len(asked) > 1:
        found.append("Shares are of different prompts or questions: a note says which a share belongs to.")
    return found


def _told(row: Measure, table: MeasureTable, tables: Sequence[MeasureTable], owner: str,
          owners: Sequence[str]) -> Measure:
    """A row that says what it was measured by, where the tables differ in it."""
    notes = [row.note]
    # Shares of a table that was joined from several encoders' have their names already; what they are of may be called
    # anything.
    share = row.name.startswith(SHARES) and len(_of(table, ENCODER)) < 2
    measure, by, of = (row.name, "", "") if row.name.startswith(SHARES) else _called(row.name)
    if (share or measure in BY_AN_ENCODER) and not by and len(_values(tables, ENCODER, BY_AN_ENCODER + SHARES)) > 1:
        by = f" by {_described(_of(table, ENCODER), 'an encoder without a name')}"
        notes.append("not comparable with numbers by another encoder")
    if measure in BY_A_REWARD_MODEL and not by and len(_values(tables, REWARD_MODEL, BY_A_REWARD_MODEL)) > 1:
        by = f" by {_described(_of(table, REWARD_MODEL), 'a model without a name')}"
        notes.append("not comparable with numbers by another model")
    if measure == KERNEL and not of and len(_values(tables, SUBSET, (KERNEL,))) > 1:
        sizes = _of(table, SUBSET)
        of = ", all pictures" if sizes == [0] else f", subsets of {_described(sizes, 'any size')}"
    if (row.name, row.note) == (SHARPNESS, ABSOLUTE):
        if any(each.name == SHARPNESS and each.note != ABSOLUTE for other in tables for each in other.rows):
            of = f", {ABSOLUTE}"
    elif measure in BESIDE_A_REFERENCE and owner and len(set(owners) - {""}) > 1:
        notes.append(f"beside the reference of {owner}")
    # Of a table that was joined from those of several prompts each number says already which is its own.
    if measure in BY_A_PROMPT and len(_values(tables, PROMPT, BY_A_PROMPT)) > 1 and len(_of(table, PROMPT)) < 2:
        notes.append(f"prompt {_described(_of(table, PROMPT), 'unknown')!r}")
    if share and len(_values(tables, ASKED, SHARES)) > 1:
        asked = _described(_of(table, ASKED), "unknown prompts")
        notes.append(f"of {', '.join(asked.splitlines())!r}")
    return replace(row, name=f"{measure}{by}{of}", note="; ".join(filter(None, notes)))


def _called(name: str) -> tuple[str, str, str]:
    """A measure, " by " what it was taken, and ", " of which subsets, of its name in a joined table."""
    found = CALLED.fullmatch(name)
    return (found["measure"], found["by"] or "", found["subsets"] or "") if found else (name, "", "")


def _subjects(table: MeasureTable, name: str, owner: str) -> dict[str, str]:
    """What each subject of a table is called in the joined one; its reference after `owner`, if that is named."""
    several = len([subject for subject in table.subjects() if subject != REFERENCE]) > 1

    def called(subject: str) -> str:
        if subject == REFERENCE:
            return f"{owner}, {REFERENCE}" if owner else REFERENCE
        if not name:
            return subject
        return f"{name}, {subject}" if several else name

    return {subject: called(subject) for subject in table.subjects()}


def _reference_owners(tables: Sequence[MeasureTable], labels: Sequence[str]) -> list[str]:
    """The label of the first table that has the same reference as each table; "" for tables without one.

    References are told apart by `reference_key` of the settings, and without it by what was measured of them. A table
    that was joined from those of several references has none: its numbers say already which is theirs.
    """
    owners: dict[Any, str] = {}
    found = []
    for table, label in zip(tables, labels):
        rows = tuple((row.name, row.value) for row in table.rows if row.subject == REFERENCE)
        keys = _of(table, REFERENCE_KEY)
        key = keys[0] if len(keys) == 1 else rows
        found.append(owners.setdefault(key, label) if key else "")
    return found


def _label(table: MeasureTable, number: int) -> str:
    own = [subject for subject in table.subjects() if subject != REFERENCE]
    return own[0] if len(own) == 1 else f"table {number}"


def _of(table: MeasureTable, setting: str) -> list[Any]:
    """A setting of a table, or of those that it was joined from, in however many steps; nothing where it does not say.
    """
    return list(dict.fromkeys(_nested(table.settings, setting)))


def _nested(settings: dict[str, Any], setting: str) -> Iterable[Any]:
    if setting in settings:
        return [settings[setting]]
    return [value for each in settings.values() if isinstance(each, dict) for value in _nested(each, setting)]


def _values(tables: Iterable[MeasureTable], setting: str, measures: tuple[str, ...]) -> list[Any]:
    """The values of a setting, each once, of the tables that have one of these measures, under its name or one that
    begins with it."""
    found = [_of(table, setting) or [None] for table in tables
             if any(row.name.startswith(measures) for row in table.rows)]
    return list(dict.fromkeys(value for values in found for value in values))


def _described(values: Sequence[Any], unknown: str) -> str:
    return " or ".join(unknown if value is None else str(value) for value in values) or unknown


def _listed(values: Sequence[Any]) -> str:
    return ", ".join("without a name" if value is None else str(value) for value in values)
