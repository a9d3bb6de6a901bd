"""Real demo pictures with known labels, and how well clusters of them agree with the labels."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import dataset
from mental_averages.dma import clustering
from train_clip import KIND_PROMPTS, TONE, TONE_PROMPTS, TONES

PER_LABEL, LARGEST_COUNT, DIMENSIONS = 32, 8, 8


@dataclass(frozen=True)
class Attribute:
    """What the pictures are told apart by, and the prompts that ask for it, which the demo CLIP was trained on."""

    name: str
    labels: tuple[str, ...]
    prompts: tuple[str, ...]


ATTRIBUTES = (
    Attribute("skin_tone", TONES, tuple(TONE_PROMPTS)),
    Attribute("kind", tuple(KIND_PROMPTS), tuple(KIND_PROMPTS)),
)


def as_pictures(images: np.ndarray) -> Tensor:
    """Pictures (N, H, W, 3) in [0, 1] of bytes."""
    return torch.from_numpy(images).float() / 255


def labelled_pictures(attribute: Attribute, folder: Path) -> tuple[Tensor, np.ndarray]:
    """The held-out pictures (N, H, W, 3) in [0, 1] that have one of the attribute's labels, and its number (N,)."""
    pictures, images = dataset.load(folder)
    labels = labels_of(attribute.name, pictures)
    rows = [row for row, picture in enumerate(pictures) if picture.held_out and labels[row]]
    return as_pictures(images[rows]), np.array([attribute.labels.index(labels[row]) for row in rows])


def labels_of(attribute: str, pictures: list[dataset.Picture]) -> list[str | None]:
    """The label of each picture, if it has one.

    A skin tone is one that the name states, alone. A kind is the category of the name; names with a skin tone, which
    would be most persons, are left out there.
    """
    tones = [TONE.findall(picture.caption) for picture in pictures]
    if attribute == "skin_tone":
        return [found[0] if len(found) == 1 else None for found in tones]
    return [None if found else picture.kind for picture, found in zip(pictures, tones)]


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
            told, chosen = (clustering.cluster(values[rows], clustering.ClusterSettings(
                smallest, largest, dimensions=DIMENSIONS, minimum_size=4))
                for smallest, largest in ((true_count, true_count), (1, LARGEST_COUNT)))
            measured[way]["ari"].append(adjusted_rand_score(labels[rows], told.labels))
            measured[way]["ari_by_bic"].append(adjusted_rand_score(labels[rows], chosen.labels))
            measured[way]["found"].append(min(chosen.bic, key=lambda entry: entry[1])[0])
    return measured
