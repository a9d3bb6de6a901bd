"""Looks that pictures of one concept fall into, drawing styles and skin tones, and what tells them by features."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

import dataset

from ._labels import as_pictures, labels_of

STYLE, TONE = "drawing style", "skin tone"
LOOKS = {
    STYLE: ["red heart", "cat face", "dog face", "red apple", "grinning face", "house", "pizza", "tree", "fish", "car"],
    TONE: ["woman", "man", "health worker", "person", "raised hand", "thumbs up"],
}
MOST_PICTURES = 2500  # for the classifier


def _looks(folder: Path, kind: str) -> tuple[Tensor, list[str], np.ndarray]:
    """Real pictures (N, H, W, 3) in [0, 1], their looks, and which are held out."""
    pictures, images = dataset.load(folder)
    tones = labels_of("skin_tone", pictures)
    labels = [picture.style if kind == STYLE else tone for picture, tone in zip(pictures, tones)]
    rows = [row for row, label in enumerate(labels) if label]
    if len(rows) > MOST_PICTURES:
        rows = sorted(np.random.default_rng(0).choice(rows, MOST_PICTURES, replace=False))
    return (as_pictures(images[rows]), [labels[row] for row in rows],
            np.array([pictures[row].held_out for row in rows]))


def look_teller(judge, folder: Path, kind: str):
    """What tells looks by features, and how often it is right on held-out pictures."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    images, labels, held_out = _looks(folder, kind)
    features, labels = judge(images).numpy(), np.array(labels)
    teller = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    teller.fit(features[~held_out], labels[~held_out])
    return teller, teller.score(features[held_out], labels[held_out])
