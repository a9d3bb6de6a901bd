"""The pictures and captions of the demo set as one file, to be carried to a machine that has no network.

    python demo/dataset.py FOLDER --archive FILE.zip --comfyui PATH

Pictures are stored exactly, as lossless WebP: as columns of many, in the order of style and concept, because variants
in skin tone and gender repeat each other. Beside them lie their descriptions, the licences of the artwork, and the
training captions as token ids (captions.py), so that none need to be made where the archive is read.
"""
from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np

from dataset import CAPTION_LAWS, Picture

FORMAT = "mental-averages/demo-pictures-2"
HIGHEST = 16383  # pixels that a WebP may have
CHECKED = 8  # pictures whose captions are drawn again
NOTICE = """Drawings by Google (noto, noto-v1, Apache-2.0), Microsoft (fluent-emoji, fluent-emoji-flat, MIT), Twitter \
(twemoji, CC BY 4.0), Mozilla (fxemoji, Apache-2.0) and Emoji One (emojione, CC BY 4.0), rendered at a small size.
"""


def write(path: Path, pictures: list[Picture], images: np.ndarray, laws: tuple[str, ...] = tuple(CAPTION_LAWS)) -> None:
    """Write pictures (N, size, size, 3) in uint8, their descriptions, and their captions by each of the laws."""
    from PIL import Image

    import captions

    size = images.shape[1]
    order = sorted(range(len(pictures)), key=lambda row: (pictures[row].style, pictures[row].concept,
                                                          pictures[row].caption))
    column = HIGHEST // size
    temporary = path.with_suffix(".tmp")
    # WebP and deflated arrays are not compressed again.
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        for first in range(0, len(order), column):
            coded = BytesIO()
            Image.fromarray(images[order[first : first + column]].reshape(-1, size, 3)).save(
                coded, "WEBP", lossless=True, quality=100, method=4)
            file.writestr(f"pictures/{first // column:04d}.webp", coded.getvalue())
        file.writestr("pictures.json", json.dumps({
            "format": FORMAT, "size": size, "order": order, "laws": {law: asdict(CAPTION_LAWS[law]) for law in laws},
            "pictures": [asdict(picture) for picture in pictures]}), zipfile.ZIP_DEFLATED)
        file.writestr("NOTICE", NOTICE)
        for law in laws:
            coded = BytesIO()
            np.savez_compressed(coded, ids=captions.make(pictures, law))
            file.writestr(captions.name_of(law), coded.getvalue())
    temporary.replace(path)


def read(path: Path, size: int) -> tuple[list[Picture], np.ndarray]:
    """What `write` was given; raises SystemExit if the archive is of another size or of another format."""
    from PIL import Image

    with zipfile.ZipFile(path) as file:
        index = json.loads(file.read("pictures.json"))
        if index.get("format") != FORMAT or index["size"] != size:
            raise SystemExit(f"{path} holds {index.get('format')} of {index.get('size')} pixels, but {FORMAT} of "
                             f"{size} pixels is needed: make it again with demo/dataset.py --archive.")
        columns = []
        for name in sorted(name for name in file.namelist() if name.startswith("pictures/")):
            with Image.open(BytesIO(file.read(name))) as image:
                columns.append(np.asarray(image.convert("RGB")).reshape(-1, size, size, 3))
    images = np.empty((len(index["order"]), size, size, 3), np.uint8)
    images[index["order"]] = np.concatenate(columns)
    return [Picture(**picture) for picture in index["pictures"]], images


def read_captions(path: Path, pictures: list[Picture], law: str) -> np.ndarray:
    """Token ids (N, captions, 77) of the archive's pictures by a law of CAPTION_LAWS.

    Raises SystemExit if the archive has none by that law, or if the law says something else now.
    """
    import captions

    with zipfile.ZipFile(path) as file:
        laws = json.loads(file.read("pictures.json"))["laws"]
        # Archives of before named their laws without saying what these were.
        if not isinstance(laws, dict) or laws.get(law) != asdict(CAPTION_LAWS[law]):
            known = ", ".join(f"{name}{'' if isinstance(laws, dict) else ' (as it was then)'}" for name in laws)
            raise SystemExit(f"{path} holds captions by the laws {known}, but not by {law!r} as it is now, "
                             f"{CAPTION_LAWS[law]}: make it again with demo/dataset.py --archive.")
        ids = np.load(BytesIO(file.read(captions.name_of(law))))["ids"]
    # The law's numbers are not all: what is done with them, and the tokenizer, may have changed too.
    expected = captions.make(pictures[:CHECKED], law)
    if len(ids) != len(pictures) or not np.array_equal(ids[:CHECKED], expected):
        raise SystemExit(f"{path} holds other captions by the law {law!r} than are drawn now: make it again with "
                         "demo/dataset.py --archive.")
    return ids
