"""What the references of tables are called where they are joined, so that each number says which it stands beside."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ._measure_table import Measure, MeasureTable
from ._measured_by import REFERENCE, is_beside_a_reference, references

BESIDE = "beside the reference of "  # what a note says, before the label of a reference


def reference_labels(tables: Sequence[MeasureTable], labels: Sequence[str]) -> dict[str, str]:
    """What each reference is called, by its key; nothing where there are not several.

    That is the label that numbers have for it already, or else that of the first table that has it and no other. No two
    have one label. Of a table that was joined from those of several references before their labels were kept, no
    label is known, but its numbers have theirs.
    """
    known = [references(table) for table in tables]
    if len({key for each in known for key in each}) < 2:
        return {}
    given = [(number, key, label) for number, each in enumerate(known, 1) for key, label in each.items() if label]
    given += [(number, key, labels[number - 1]) for number, each in enumerate(known, 1)
              for key, label in each.items() if not label and len(each) == 1]
    found: dict[str, str] = {}
    for number, key, label in given:
        if key not in found:
            while label in found.values():
                label = f"{number}. {label}"
            found[key] = label
    return found


@dataclass(frozen=True)
class Beside:
    """What is beside which reference in one table: the label of its only one, "" where that needs none or numbers have
    theirs already, and the new label by the old one where they have."""

    owner: str
    renamed: Mapping[str, str]

    @classmethod
    def of(cls, table: MeasureTable, labels: Mapping[str, str]) -> Beside:
        """That of a table, of `reference_labels`."""
        known = references(table)
        alone = next(iter(known)) if list(known.values()) == [""] else ""
        return cls(labels.get(alone, ""), {label: labels.get(key, label) for key, label in known.items() if label})

    def subjects(self) -> dict[str, str]:
        """What each subject that is a reference is called now."""
        return {REFERENCE: _subject(self.owner),
                **{_subject(before): _subject(after) for before, after in self.renamed.items()}}

    def told(self, row: Measure) -> Measure:
        """A row whose note says which reference it stands beside, where there are several."""
        if self.owner and is_beside_a_reference(row):
            return replace(row, note="; ".join(filter(None, (row.note, BESIDE + self.owner))))
        # The longest first, as a whole part of a note: a label may hold what notes are joined by, and another label.
        for before in sorted(self.renamed, key=len, reverse=True):
            found = re.search(rf"(?:^|; ){re.escape(BESIDE + before)}(?=; |$)", row.note)
            if found:
                start = found.end() - len(before)
                return replace(row, note=row.note[:start] + self.renamed[before] + row.note[found.end():])
        return row


def _subject(label: str) -> str:
    return f"{label}, {REFERENCE}" if label else REFERENCE
