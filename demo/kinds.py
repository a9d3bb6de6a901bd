"""What kind of thing each concept is, by the categories that the icon sets list."""
from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import dataset

BARE_TONE = re.compile(r"-(medium-light|medium-dark|light|medium|dark)(-skin-tone)?$")
KINDS = {"People & Body": "person", "Animals & Nature": "animal or plant", "Food & Drink": "food", "Symbols": "symbol"}


def categories(folder: Path) -> dict[str, str]:
    """The category of each concept that most sets put it in; sets with other categories than Unicode's are left out."""
    votes: dict[str, Counter] = {}
    for icons in dataset.ICON_SETS:
        with tarfile.open(dataset.archive_path(folder, icons)) as archive:
            listed = json.load(archive.extractfile("package/metadata.json"))
        found = listed.get("categories", {}) if isinstance(listed, dict) else {}
        for category, names in found.items() if "People & Body" in found else ():
            for name in names:
                concept = dataset.concept_of(dataset.caption_of(BARE_TONE.sub("", name)))
                votes.setdefault(concept, Counter())[category] += 1
    return {concept: counted.most_common(1)[0][0] for concept, counted in votes.items()}


def with_kinds(pictures: list[dataset.Picture], folder: Path) -> list[dataset.Picture]:
    """The pictures with the kind of their concept, where it is one of KINDS."""
    found = categories(folder)
    return [replace(picture, kind=KINDS.get(found.get(picture.concept))) for picture in pictures]
