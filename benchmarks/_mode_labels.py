"""Clusters of real demo pictures whose labels are known: the first part of the benchmark of modes."""
from __future__ import annotations

import json
import re
import sys
import tarfile
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _common import ROOT, print_table, with_interval
from torch import Tensor

from mental_averages.dma import clustering, encoders

sys.path.insert(0, str(ROOT / "demo"))
import clip_model
import dataset

TONE = re.compile(r"\b(medium light|medium dark|light|medium|dark) skin tone")
BARE_TONE = re.compile(r"-(medium-light|medium-dark|light|medium|dark)(-skin-tone)?$")
CATEGORIES = {"People & Body": "person", "Animals & Nature": "animal or plant", "Food & Drink": "food",
              "Symbols": "symbol"}
PER_LABEL, LARGEST_COUNT, DIMENSIONS = 32, 8, 8


@dataclass(frozen=True)
class Attribute:
    """What the pictures are told apart by, and the prompts that ask for it.

    Each prompt is a name as the demo CLIP was trained on: it has not learnt words for whole kinds, such as animal.
    """

    name: str
    labels: tuple[str, ...]
    prompts: tuple[str, ...]


TONES = ("light", "medium light", "medium", "medium dark", "dark")
ATTRIBUTES = (
    Attribute("skin_tone", TONES, tuple(f"person {tone} skin tone" for tone in TONES)),
    Attribute("kind", tuple(CATEGORIES.values()), (
        "woman", "man", "person", "hand", "cat", "dog", "bird", "flower", "apple", "bread", "cake", "bowl", "button",
        "arrow", "square", "circle")),
)


def load_encoder(folder: Path | None) -> encoders.ImageEncoder:
    """An encoder from a folder; the demo CLIP if none is named."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    if folder:
        return encoders.load_encoder(folder)
    if not clip_model.PATH.exists():
        raise SystemExit(f"There is no {clip_model.PATH.name} in demo/: train it by demo/train_clip.py, or name "
                         "another CLIP with --encoder.")
    with tempfile.TemporaryDirectory() as written:
        clip_model.write_folder(Path(written) / "demo_clip", *clip_model.unpack())
        return encoders.load_encoder(Path(written) / "demo_clip")


def categories(folder: Path) -> dict[str, str]:
    """The category of each concept, from the icon sets' own lists; sets with other categories than Unicode's are left
    out."""
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


def labelled_pictures(attribute: Attribute, folder: Path) -> tuple[Tensor, np.ndarray]:
    """The held-out pictures (N, H, W, 3) in [0, 1] that have one of the attribute's labels, and its number (N,)."""
    pictures, images = dataset.load(folder)
    labels = labels_of(attribute.name, pictures, folder)
    rows = [row for row, picture in enumerate(pictures) if picture.held_out and labels[row]]
    return torch.from_numpy(images[rows]).float() / 255, np.array([attribute.labels.index(labels[row]) for row in rows])


def labels_of(attribute: str, pictures: list[dataset.Picture], folder: Path) -> list[str | None]:
    """The label of each picture, if it has one.

    A skin tone is one that the name states, alone. A kind is the category of the name; names with a skin tone, which
    would be most persons, are left out there.
    """
    tones = [TONE.findall(picture.caption) for picture in pictures]
    if attribute == "skin_tone":
        return [found[0] if len(found) == 1 else None for found in tones]
    kinds = categories(folder)
    return [None if found else CATEGORIES.get(kinds.get(picture.concept)) for picture, found in zip(pictures, tones)]


def measure_attribute(name: str, arguments) -> dict:
    """How well clusters by prompts and by plain CLIP embeddings agree with an attribute's labels."""
    torch.set_num_threads(arguments.threads)
    attribute = next(attribute for attribute in ATTRIBUTES if attribute.name == name)
    encoder = load_encoder(arguments.encoder)
    images, labels = labelled_pictures(attribute, arguments.data)
    scored = encoders.prompt_scores(encoder, images, list(attribute.prompts))
    embeddings = {"attribute": scored.values, "clip": encoders.embed_images(encoder, images)}
    measured = agreement(embeddings, labels, arguments.subsets)
    print(f"{name}: " + ", ".join(f"{way} {np.mean(found['ari']):.3f}" for way, found in measured.items()), flush=True)
    return {"attribute": attribute, "counts": np.bincount(labels).tolist(), "measured": measured}


def agreement(embeddings: dict[str, Tensor], labels: np.ndarray, subsets: int) -> dict[str, dict[str, list[float]]]:
    """Adjusted Rand index of clusters of each kind of embeddings (N, D) against labels (N,), and the number by BIC.

    Over random subsets with equally many pictures of each label.
    """
    from sklearn.metrics import adjusted_rand_score

    true_count = int(labels.max()) + 1
    measured = {way: {"ari": [], "ari_by_bic": [], "found": []} for way in embeddings}
    for subset in range(subsets):
        generator = np.random.default_rng(subset)
        rows = np.concatenate([generator.choice(np.flatnonzero(labels == label), PER_LABEL, replace=False)
                               for label in range(true_count)])
        for way, values in embeddings.items():
            told, chosen = (clustering.cluster(values[rows],
                                          clustering.ClusterSettings(smallest, largest, dimensions=DIMENSIONS,
                                                                     minimum_size=4))
                            for smallest, largest in ((true_count, true_count), (1, LARGEST_COUNT)))
            measured[way]["ari"].append(adjusted_rand_score(labels[rows], told.labels))
            measured[way]["ari_by_bic"].append(adjusted_rand_score(labels[rows], chosen.labels))
            measured[way]["found"].append(min(chosen.bic, key=lambda entry: entry[1])[0])
    return measured


def print_labels(results: list[dict], subsets: int) -> None:
    print(f"\nHeld-out real pictures, {subsets} random subsets with {PER_LABEL} pictures per label. Agreement: "
          f"adjusted Rand index, 1 for the labels themselves, 0 for chance. Clusters in {DIMENSIONS} principal "
          f"components, BIC over 1 to {LARGEST_COUNT}; intervals over subsets, which share pictures. The question way "
          "of AttributeEmbed is measured by attribute_states.")
    for result in results:
        attribute = result["attribute"]
        pictures = ", ".join(f"{label} {count}" for label, count in zip(attribute.labels, result["counts"]))
        print(f"{attribute.name}: {pictures}; prompts: {', '.join(attribute.prompts)}")
    print()
    print_table(["labels", "embedding", "agreement, number of labels given", "agreement, number by BIC",
                 "number by BIC", "BIC finds the true number"],
                [[result["attribute"].name.replace("_", " "), way, with_interval(found["ari"]),
                  with_interval(found["ari_by_bic"]),
                  f"{np.mean(found['found']):.1f} of {len(result['attribute'].labels)}",
                  f"{100 * found_share(result, way):.0f} %"]
                 for result in results for way, found in result["measured"].items()])


def found_share(result: dict, way: str) -> float:
    """How often BIC found the true number of labels."""
    return float(np.mean(np.array(result["measured"][way]["found"]) == len(result["attribute"].labels)))


def label_figures(results: list[dict]) -> dict[str, float]:
    figures = {}
    for result in results:
        name = result["attribute"].name
        for way, found in result["measured"].items():
            figures |= {f"ari_{name}_{way}": float(np.mean(found["ari"])),
                        f"ari_{name}_{way}_by_bic": float(np.mean(found["ari_by_bic"])),
                        f"bic_found_true_number_{name}_{way}": found_share(result, way)}
    for way, name in (("attribute", "bic_found_true_number"), ("clip", "bic_found_true_number_clip")):
        figures[name] = float(np.mean([found_share(result, way) for result in results]))
    return figures
