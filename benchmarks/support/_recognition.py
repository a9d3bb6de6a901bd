"""Whether a picture shows its concept: a classifier on the judge's features of real demo pictures."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

import dataset

from ._judge import FeatureSpace
from ._labels import as_pictures

TRAINING_PICTURES = 5


def choose_concepts(pictures: list[dataset.Picture], count: int) -> list[str]:
    """Concepts with at least one held-out picture and enough training pictures in different styles, spread evenly."""
    held_out, styles = set(), defaultdict(set)
    for picture in pictures:
        if picture.held_out:
            held_out.add(picture.concept)
        else:
            styles[picture.concept].add(picture.style)
    usable = sorted(concept for concept in held_out if len(styles[concept]) >= TRAINING_PICTURES - 1)
    return [usable[index] for index in np.linspace(0, len(usable) - 1, min(count, len(usable))).astype(int)]


def features_by_concept(pictures: list[dataset.Picture], images: np.ndarray, concepts: Sequence[str],
                        judge: FeatureSpace, held_out: bool, most: int = 12,
                        through: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, np.ndarray]:
    """Features (N, D) and concept numbers (N,) of real pictures on one side of the split, or of what `through` makes of
    these."""
    chosen, labels = [], []
    for number, concept in enumerate(concepts):
        rows = [row for row, picture in enumerate(pictures) if picture.concept == concept
                and picture.held_out == held_out]
        chosen += rows[:: max(1, len(rows) // most)][:most]
        labels += [number] * (len(chosen) - len(labels))
    real = as_pictures(images[chosen])
    return judge(real if through is None else through(real)), np.array(labels)


class Recogniser:
    """Tells concepts apart by logistic regression, trained on the real pictures that are not held out."""

    def __init__(self, pictures: list[dataset.Picture], images: np.ndarray, concepts: Sequence[str],
                 judge: FeatureSpace) -> None:
        from sklearn.linear_model import LogisticRegression

        self.concepts = list(concepts)
        features, labels = features_by_concept(pictures, images, concepts, judge, held_out=False)
        self.classifier = LogisticRegression(C=30.0, max_iter=2000).fit(features.numpy(), labels)

    def right(self, features: Tensor, concept: str) -> np.ndarray:
        """Which of pictures with features (N, D) are taken for this concept, (N,)."""
        return self.classifier.predict(features.numpy()) == self.concepts.index(concept)
