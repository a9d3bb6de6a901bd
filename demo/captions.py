"""The training captions of the demo set as token ids: a fixed number for each picture, so that a training step only
picks numbers from a table.

Drawing and tokenizing a caption takes some hundred microseconds, which is more than a large card takes for a picture's
share of a step; the table is made once and kept beside the pictures, or comes with their archive.
"""
from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from dataset import CAPTION_LAWS, Picture, training_captions

COUNT = 16  # captions of a picture


def name_of(law: str) -> str:
    return f"captions_{law}.npz"


def make(pictures: list[Picture], law: str, count: int = COUNT) -> np.ndarray:
    """Token ids (N, count, 77) in uint16 of captions that are drawn by a law of CAPTION_LAWS."""
    import text_table

    drawn = training_captions(pictures, CAPTION_LAWS[law], count)
    ids = {caption: np.array(text_table.token_ids(caption), np.uint16) for row in drawn for caption in set(row)}
    return np.stack([np.stack([ids[caption] for caption in row]) for row in drawn])


def load(data: Path, pictures: list[Picture], law: str) -> np.ndarray:
    """The table of all `pictures` of the folder or archive `data`; a folder keeps it."""
    if data.is_file():
        import archive

        return archive.read_captions(data, pictures, law)
    described = "\n".join([str(CAPTION_LAWS[law]), str(COUNT), *(f"{picture.style}:{picture.caption}"
                                                                 for picture in pictures)])
    path = data / f"{hashlib.sha256(described.encode()).hexdigest()[:16]}_{name_of(law)}"
    if not path.exists():
        temporary = path.with_suffix(".tmp.npz")
        np.savez_compressed(temporary, ids=make(pictures, law))
        temporary.replace(path)
    return np.load(path)["ids"]
