"""What the numbers of a table were measured by: its settings, or those of the tables that it was joined from, each with
the names of what was measured by them."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ._measure_table import Measure, MeasureTable
from ._picture_scores import ABSOLUTE, BESIDE_OTHERS, SHARPNESS

REFERENCE = "reference"  # what the set is called that others are compared with
KERNEL = "kernel distance"
BESIDE_A_REFERENCE = (SHARPNESS, "brightness", "representativeness", "distance to the mean", "Fréchet distance",
                      KERNEL, "CMMD", "typicality")
BY_AN_ENCODER = (*BESIDE_A_REFERENCE[2:], "consistency", "consistency within", "diversity", "CLIP-T", "spread", "drift",
                 "average moved")
SHARES = ("share of ", "change of ")  # what the names of measures by an encoder begin with
ENCODER, REWARD_MODEL, SUBSET, PROMPT, ASKED = (  # settings
    "encoder", "reward_model", "subset_size", "prompt", "attribute_text")
REFERENCE_KEY, PICTURES_KEY = "reference_key", "images_key"
# The measures that a setting has a say in, and whether it has one in shares.
TAKEN_BY: dict[str, tuple[tuple[str, ...], bool]] = {
    ENCODER: (BY_AN_ENCODER, True), REWARD_MODEL: (("ImageReward",), False), SUBSET: ((KERNEL,), False),
    PROMPT: (("CLIP-T", "ImageReward"), False), ASKED: ((), True)}
# What joining adds to the settings of each table: the names of its measures, and what its reference is called.
MEASURES, REFERENCE_LABEL = "measures", "reference_label"
NUMBERED = re.compile(r"\d+\.")  # what the names of tables in the settings of a joined one begin with
# What a measure is called that was joined before: by what, and with which subsets.
CALLED = re.compile(r"(?P<measure>.*?)(?P<by> by .*?)?(?P<subsets>, (?:all pictures|subsets of .*))?")


def called(name: str) -> tuple[str, str, str]:
    """A measure, " by " what it was taken, and ", " of which subsets, of its name in a joined table; the names of
    shares, which may say anything, are whole."""
    found = None if name.startswith(SHARES) else CALLED.fullmatch(name)
    return (found["measure"], found["by"] or "", found["subsets"] or "") if found else (name, "", "")


def is_taken_by(name: str, setting: str) -> bool:
    """Whether a setting has a say in the measure of this name."""
    measures, shares = TAKEN_BY[setting]
    return shares if name.startswith(SHARES) else called(name)[0] in measures


def is_beside_a_reference(row: Measure) -> bool:
    """Whether a number would be another one beside another reference."""
    return (called(row.name)[0] in BESIDE_A_REFERENCE and (row.name, row.note) != (SHARPNESS, ABSOLUTE)
            and not row.note.startswith(BESIDE_OTHERS))


def parts(table: MeasureTable) -> list[dict[str, Any]]:
    """The settings of each table that this one was joined from, in however many steps; its own if it was not joined.

    Each has the names of its measures, but for those that were joined before these were kept.
    """
    return list(_leaves(table.settings)) if _is_joined(table.settings) else [_with_measures(table)]


def values(table: MeasureTable, setting: str) -> list[Any]:
    """What the numbers of a table that a setting has a say in were taken by, each value once: None where it does not
    say, nothing where there is no such number.

    >>> looks, features = {"encoder": None, "measures": ["sharpness"]}, {"encoder": "clip", "measures": ["CMMD"]}
    >>> values(MeasureTable({"1.": features, "2.": looks}, [Measure("a", "CMMD", 1.0)]), "encoder")
    ['clip']
    """
    if not any(is_taken_by(name, setting) for name in table.names()):
        return []
    found: list[Any] = []
    for part in parts(table):
        if MEASURES in part:
            found += [part.get(setting)] * any(is_taken_by(name, setting) for name in part[MEASURES])
        elif setting in part and not _says_nothing(part, setting):
            found.append(part[setting])
    return list(dict.fromkeys(found)) or [None]


def references(table: MeasureTable) -> dict[str, str]:
    """What each reference of a table is called by its key, "" where it has no name yet.

    References are told apart by `reference_key` of the settings, and without it by what was measured of them. One that
    no number stands beside is none.
    """
    own = "; ".join(f"{row.name} {row.value}" for row in table.rows if row.subject == REFERENCE)
    if _is_joined(table.settings):
        found: dict[str, str] = {}
        for part in parts(table):
            if part.get(REFERENCE_KEY):
                found.setdefault(part[REFERENCE_KEY], part.get(REFERENCE_LABEL, ""))
        return found or ({own: ""} if own else {})
    if not own and not any(is_beside_a_reference(row) for row in table.rows):
        return {}
    key = table.settings.get(REFERENCE_KEY) or own
    return {key: ""} if key else {}


def kept_settings(table: MeasureTable, labels: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a table as a joined one keeps them: with the names of its measures and the key of its reference,
    and, where `labels` has a name for that key, with this."""
    if _is_joined(table.settings):
        return _labelled(table.settings, labels)
    settings = {name: value for name, value in _with_measures(table).items() if name != REFERENCE_KEY}
    for key in references(table):
        settings[REFERENCE_KEY] = key
    return _labelled(settings, labels)


def _labelled(settings: dict[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    if _is_joined(settings):
        return {name: _labelled(part, labels) for name, part in settings.items()}
    label = labels.get(settings.get(REFERENCE_KEY, ""))
    return {**settings, REFERENCE_LABEL: label} if label else settings


def _is_joined(settings: dict[str, Any]) -> bool:
    return bool(settings) and all(NUMBERED.match(name) and isinstance(part, dict) for name, part in settings.items())


def _leaves(settings: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if not _is_joined(settings):
        return [settings]
    return [leaf for part in settings.values() for leaf in _leaves(part)]


def _with_measures(table: MeasureTable) -> dict[str, Any]:
    return {**table.settings, MEASURES: table.names()}


def _says_nothing(part: dict[str, Any], setting: str) -> bool:
    """Whether a setting was written though nothing was measured by it, as far as settings alone tell."""
    if setting in (ENCODER, SUBSET):
        return part.get(ENCODER, "") is None
    return setting == PROMPT and not part[PROMPT]
