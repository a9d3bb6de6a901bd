"""The pictures and captions of the demo checkpoint: emoji artwork in seven drawing styles.

    python demo/dataset.py FOLDER [--size 64] [--archive FILE.zip --comfyui PATH]

Fetches the icon sets with the npm client (pinned versions, SHA-512 verified), renders every icon over white, turns
names into captions, and splits 95 to 5 into training and held-out pictures. The split is by drawing style and concept,
so that a picture and its variants in skin tone or gender are always on the same side, and no held-out picture is the
same, pixel by pixel, as one for training. With --archive all that training needs is written into one file (archive.py)
that the training scripts take in the folder's place, on a machine without npm or a network.
"""
from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class IconSet:
    name: str
    version: str
    sha512: str
    style: str  # the word that names this drawing style in captions


ICON_SETS = (
    IconSet("noto", "1.2.9", "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
            "noto"),
    IconSet("noto-v1", "1.2.5",
            "/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo3UHHb/XpBsw+1L1x3eyPqMuVA==", "blob"),
    IconSet("fluent-emoji", "1.2.7",
            "D8G6bKAyIsyxP1rzZtIWr/gg/fO4Rg1+DyCWlfqKK4h8W+4Em/Y0P6QYgJUQTlUcagzJvSyg+9OBv4hz4Hc/QA==", "fluent"),
    IconSet("fluent-emoji-flat", "1.2.6",
            "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==", "flat"),
    IconSet("twemoji", "1.2.5",
            "uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==", "twitter"),
    IconSet("fxemoji", "1.2.2",
            "UAasRaxzFUKfIGSmLwnoarsssA4LX0VLLuEmplIqM6ZNQqIQRtav8tZ4H1neTlBreXuMQyAifr5jP4kn78DpiQ==", "firefox"),
    IconSet("emojione", "1.2.3",
            "T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5vJxS4Q1m8zb9CMMg==", "emojione"),
)
SKIN_TONES = ("medium light", "medium dark", "light", "medium", "dark")
TONE_NUMBERS = {"tone1": "light", "tone2": "medium light", "tone3": "medium", "tone4": "medium dark", "tone5": "dark"}
GENDER_WORDS = {"woman", "man", "person", "women", "men", "people", "female", "male"}
HELD_OUT_SHARE = 0.05


@dataclass(frozen=True)
class Picture:
    """One icon: its caption without the style word, the concept it shows, its drawing style, its side of the split,
    and the kind of its concept (kinds.py) if it has one."""

    caption: str
    concept: str
    style: str
    held_out: bool
    kind: str | None = None


def fetch(folder: Path) -> dict[str, dict]:
    """Download the icon sets into `folder` (kept between runs) and return their parsed `icons.json` by set name."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [icons for icons in ICON_SETS if not archive_path(folder, icons).exists()]
    if missing:
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("The icon sets come from the npm registry: install Node.js with npm, then run this again.")
        packages = [f"@iconify-json/{icons.name}@{icons.version}" for icons in missing]
        subprocess.run([npm, "pack", "--silent", *packages], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return {icons.name: read_archive(archive_path(folder, icons), icons) for icons in ICON_SETS}


def archive_path(folder: Path, icons: IconSet) -> Path:
    return folder / f"iconify-json-{icons.name}-{icons.version}.tgz"


def read_archive(path: Path, icons: IconSet) -> dict:
    data = path.read_bytes()
    found = base64.b64encode(hashlib.sha512(data).digest()).decode()
    if found != icons.sha512:
        path.unlink()
        raise SystemExit(f"{path.name} does not have the expected SHA-512 and was removed: run this again.")
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        return json.load(archive.extractfile("package/icons.json"))


def split_joined_words(name: str, vocabulary: Counter) -> str:
    """Separate a name written without hyphens ("chilipepper") into the most common words that spell it."""
    best: list[tuple[float, str] | None] = [(0.0, "")] + [None] * len(name)
    for end in range(1, len(name) + 1):
        for start in range(end):
            word = name[start:end]
            if best[start] is not None and vocabulary[word]:
                cost = best[start][0] + 12.0 - np.log(vocabulary[word])
                if best[end] is None or cost < best[end][0]:
                    best[end] = (cost, f"{best[start][1]} {word}".strip())
    return best[-1][1] if best[-1] is not None else name


def caption_of(name: str) -> str:
    """The words of an icon name, with every skin tone written as "<tone> skin tone" at the end.

    >>> caption_of("woman-health-worker-medium-dark-skin-tone")
    'woman health worker medium dark skin tone'
    >>> caption_of("person-dark-skin-tone-beard")
    'person beard dark skin tone'
    """
    text = name.replace("-", " ")
    for number, tone in TONE_NUMBERS.items():
        text = re.sub(rf"\b{number}\b", f"{tone} skin tone", text)
    tones = []
    for tone in SKIN_TONES:
        while f"{tone} skin tone" in text:
            text = text.replace(f"{tone} skin tone", "", 1)
            tones.append(f"{tone} skin tone")
    return " ".join(f"{text} {' '.join(tones)}".split())


def concept_of(caption: str) -> str:
    """The caption without skin tone and gender: what balanced sampling counts and the split goes by."""
    text = re.sub(r"(medium light|medium dark|light|medium|dark) skin tone", "", caption)
    words = [word for word in text.split() if word not in GENDER_WORDS]
    return " ".join(words) or "person"


def collect(sets: dict[str, dict]) -> tuple[list[Picture], list[str]]:
    """Every usable icon as (description, SVG source), in a fixed order; flags are left out."""
    vocabulary = Counter(
        word for key, data in sets.items() if key != "fxemoji" for name in data["icons"] for word in name.split("-")
        if len(word) > 1 or word.isdigit()
    )
    pictures, sources = [], []
    for icons in ICON_SETS:
        data = sets[icons.name]
        for name, icon in sorted(data["icons"].items()):
            if re.match(r"(flag-|regional-?indicator|cjk)", name) or name.endswith("flag"):
                continue
            # The two Fluent sets write a skin tone as a bare suffix: "man-detective-dark".
            bare_tone = re.match(r"(.*?)-(medium-light|medium-dark|light|medium|dark)$", name)
            if icons.name.startswith("fluent") and bare_tone and f"{bare_tone.group(1)}-medium-dark" in data["icons"]:
                name = f"{name}-skin-tone"
            caption = caption_of(split_joined_words(name, vocabulary) if icons.name == "fxemoji" else name)
            concept = concept_of(caption)
            share = int(hashlib.sha256(f"{icons.name}:{concept}".encode()).hexdigest()[:8], 16) / 2**32
            pictures.append(Picture(caption, concept, icons.style, share < HELD_OUT_SHARE))
            width, height = icon.get("width", data.get("width", 16)), icon.get("height", data.get("height", 16))
            left, top = icon.get("left", 0), icon.get("top", 0)
            sources.append(f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                           f'viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>')
    return pictures, sources


def keep_alike_together(pictures: list[Picture], images: np.ndarray) -> list[Picture]:
    """The pictures with their side of the split mended where two of them are the same, pixel by pixel.

    Concepts of a style that share a picture, directly or by way of others ("0" and "digit zero"), are held out only if
    all of them are: pictures only move from the held-out side to the other one, so that networks that were trained
    before have seen none of those that stay.
    """
    leader = {(picture.style, picture.concept): (picture.style, picture.concept) for picture in pictures}

    def find(key: tuple[str, str]) -> tuple[str, str]:
        while leader[key] != key:
            key = leader[key]
        return key

    first: dict[bytes, tuple[str, str]] = {}
    for picture, image in zip(pictures, images):
        key = (picture.style, picture.concept)
        leader[find(key)] = find(first.setdefault(hashlib.sha256(image.tobytes()).digest(), key))
    training = {find((picture.style, picture.concept)) for picture in pictures if not picture.held_out}
    return [replace(picture, held_out=find((picture.style, picture.concept)) not in training) for picture in pictures]


def split_digest(pictures: list[Picture]) -> str:
    """A name for the split: stored with an autoencoder, so that nothing is trained on it with another split."""
    held_out = sorted(f"{picture.style}:{picture.caption}" for picture in pictures if picture.held_out)
    return hashlib.sha256("\n".join(held_out).encode()).hexdigest()[:16]


def render(sources: list[str], size: int) -> np.ndarray:
    """Draw SVG sources over white as uint8 (N, size, size, 3)."""
    from PIL import Image
    from resvg_py import svg_to_bytes

    def draw(source: str) -> np.ndarray:
        png = svg_to_bytes(svg_string=source, width=2 * size, background="#ffffff", skip_system_fonts=True)
        with Image.open(BytesIO(png)) as image:
            drawn = image.convert("RGB")
            if drawn.width != drawn.height:
                drawn.thumbnail((2 * size, 2 * size))
                square = Image.new("RGB", (2 * size, 2 * size), "white")
                square.paste(drawn, ((square.width - drawn.width) // 2, (square.height - drawn.height) // 2))
                drawn = square
            return np.asarray(drawn.resize((size, size), Image.Resampling.LANCZOS))

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(draw, sources)))


def sampling_weights(pictures: list[Picture]) -> np.ndarray:
    """Probability of each picture (sums to one): a concept's total goes with its count to the power 0.4.

    Concepts that fewer than three styles draw, mostly odd names of one set, get proportionally less.
    """
    counts = Counter(picture.concept for picture in pictures)
    styles = Counter(concept for concept, _ in {(picture.concept, picture.style) for picture in pictures})
    weights = np.array([counts[picture.concept] ** -0.6 * min(1.0, styles[picture.concept] / 3)
                        for picture in pictures])
    return weights / weights.sum()


@dataclass(frozen=True)
class CaptionLaw:
    """With which probability a training caption is empty, and, where it is not, how it is shortened: without the skin
    tone, to the concept without gender, or to one or two of the words of the name. `style`: that it ends with the word
    for the drawing style."""

    empty: float = 0.1
    without_tone: float = 0.25
    concept: float = 0.2
    few_words: float = 0.15
    style: float = 0.5


CAPTION_LAWS = {
    "mixed": CaptionLaw(),
    # Without the pieces of names, of which many mean nothing or several things; the concept alone, which is what is
    # asked for most, more often instead.
    "whole": CaptionLaw(concept=0.35, few_words=0.0),
}


def training_caption(picture: Picture, generator: np.random.Generator, law: CaptionLaw = CAPTION_LAWS["mixed"]) -> str:
    """A caption as a user might type it, so that "woman", "dog" or "worker" alone come to mean something."""
    if generator.random() < law.empty:
        return ""
    text = picture.caption
    draw = generator.random()
    if draw < law.without_tone:
        text = re.sub(r"\s*(medium light|medium dark|light|medium|dark) skin tone", "", text)
    elif draw < law.without_tone + law.concept:
        text = picture.concept
    elif draw < law.without_tone + law.concept + law.few_words:
        words = [word for word in text.split() if word not in ("of", "with", "in", "and", "skin", "tone")]
        keep = sorted(generator.choice(len(words), size=min(len(words), int(generator.integers(1, 3))), replace=False))
        text = " ".join(words[index] for index in keep)
    return f"{text} {picture.style}" if generator.random() < law.style else text


def training_captions(pictures: list[Picture], law: CaptionLaw, count: int, seed: int = 0) -> list[list[str]]:
    """`count` captions of each picture; a picture's own do not depend on the others'."""
    return [[training_caption(picture, generator, law) for _ in range(count)]
            for index, picture in enumerate(pictures)
            for generator in [np.random.default_rng((seed, index))]]


def load(folder: Path, size: int = 64) -> tuple[list[Picture], np.ndarray]:
    """Descriptions and uint8 pictures (N, size, size, 3): rendered once and kept in `folder`, or of an archive file."""
    if folder.is_file():
        import archive

        return archive.read(folder, size)
    import kinds

    pictures, sources = collect(fetch(folder))
    cache = folder / f"pictures_{size}.npy"
    fingerprint = hashlib.sha256("".join(sources).encode()).hexdigest()[:16]
    stamp = folder / f"pictures_{size}.{fingerprint}"
    if not stamp.exists() or not cache.exists():
        np.save(cache, render(sources, size))
        stamp.touch()
    images = np.load(cache)
    return kinds.with_kinds(keep_alike_together(pictures, images), folder), images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--archive", type=Path, help="also write all that training needs into this file")
    parser.add_argument("--comfyui", type=Path, help="a ComfyUI folder, for the tokenizer, which --archive needs")
    arguments = parser.parse_args()
    if arguments.archive and not arguments.comfyui:
        parser.error("--archive needs --comfyui")
    pictures, images = load(arguments.folder, arguments.size)
    held_out = sum(picture.held_out for picture in pictures)
    concepts = Counter(picture.concept for picture in pictures)
    print(f"{len(pictures)} pictures {images.shape[1:]}, {held_out} held out, {len(concepts)} concepts")
    print("styles:", dict(Counter(picture.style for picture in pictures)))
    print("largest concepts:", concepts.most_common(8))
    if arguments.archive:
        import archive
        import networks

        networks.import_comfyui(arguments.comfyui)
        archive.write(arguments.archive, pictures, images)
        print(f"{arguments.archive}: {arguments.archive.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    sys.exit(main())
