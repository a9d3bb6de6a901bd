"""A direction in the features of layers that leads from one set of pictures to another, and how well it tells them
apart."""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..choices import check_choice
from ..precision import in_double
from ..statistics import auroc, row_digests

SCALES = ("difference", "deviation", "unit")
FEWEST_PICTURES = 2
FOLDS = 5


@dataclass(frozen=True, eq=False)
class LayerDirection:
    """The direction (C,) of one layer, fp32 on the CPU, as it is added at strength 1.

    auroc, d_prime: how well projections on the direction tell pictures apart that it was not made of (cross-validated).
    length: the distance between the means of the two sets. deviation: the standard deviation of a set's projections.
    lead: where it leads (`lead`), NaN where that has not been measured. weight: what the vector has been multiplied by.
    """

    vector: Tensor
    auroc: float
    d_prime: float
    length: float
    deviation: float
    lead: float = math.nan
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Direction:
    """Directions by layer, in the order in which layers run, and how they are scaled.

    lead, cosine: where all layers lead together at strength 1, and the cosine of this movement with the way; NaN where
    that has not been measured.
    """

    layers: dict[str, LayerDirection]
    scale: str
    positive: int  # pictures in the sets
    negative: int
    lead: float = math.nan
    cosine: float = math.nan

    @property
    def separation(self) -> float:
        """The largest AUROC of a layer."""
        return max(each.auroc for each in self.layers.values())


def direction_from(features: Mapping[str, tuple[Tensor, Tensor]], *, scale: str = "difference") -> Direction:
    """The direction from the features (M, C) of a negative set to those (N, C) of a positive one, at each layer:

        d = mean of positives - mean of negatives

    the difference of means of arXiv 2512.20963, whose features are means over space. scale is what strength 1 adds:
    "difference" d itself, "deviation" one standard deviation of a set's pictures along d, "unit" d over its length.

    features: by layer, those of the positive and those of the negative set. The separation is measured on pictures that
    a direction has not seen: in 5 folds, or as many as the smaller set has different pictures, the direction is made of
    the others, and those of the fold are projected on it, from the middle between the two means. Pictures with the same
    features to the last bit are in one fold; near duplicates are not known as such, and make the separation too good.
    AUROC and
    d' = (mean of positives - mean of negatives) / sqrt((variance of positives + of negatives) / 2) are those of all
    projections together.

    Raises ValueError for fewer than 2 pictures in a set, for features of different width or that are not finite, for an
    unknown scale, and where the means are the same, or with "deviation" all pictures of a set.

    >>> positive, negative = torch.tensor([[2.0, 1.0], [4.0, 1.0]]), torch.tensor([[0.0, 1.0], [-2.0, 1.0]])
    >>> found = direction_from({"layer": (positive, negative)}).layers["layer"]
    >>> found.vector.tolist(), found.auroc, found.length
    ([4.0, 0.0], 1.0, 4.0)
    """
    check_choice(scale, SCALES, "scale")
    if not features:
        raise ValueError("There are no layers to find a direction in.")
    layers = {layer: _of_layer(layer, in_double(positive), in_double(negative), scale)
              for layer, (positive, negative) in features.items()}
    positive, negative = next(iter(features.values()))
    return Direction(layers, scale, len(positive), len(negative))


def _of_layer(layer: str, positive: Tensor, negative: Tensor, scale: str) -> LayerDirection:
    for values, name in ((positive, "positive"), (negative, "negative")):
        if values.ndim != 2 or len(values) < FEWEST_PICTURES:
            raise ValueError(f"The {name} set has {len(values)} pictures, but a direction and its separation take at "
                             f"least {FEWEST_PICTURES}.")
        if not values.isfinite().all():
            raise ValueError(f"The features of the {name} set at the layer {layer} contain NaN or infinity.")
    if positive.shape[1] != negative.shape[1]:
        raise ValueError(f"The sets have {positive.shape[1]} and {negative.shape[1]} channels at the layer {layer}.")
    difference, _ = between_means(positive, negative)
    length = difference.norm().item()
    size = torch.cat([positive, negative]).norm(dim=1).mean().item()
    if length <= 1e-6 * size:
        raise ValueError(f"At the layer {layer} the means of the two sets are the same, and there is no direction from "
                         "one to the other: take other pictures for one of them.")
    unit = difference / length
    deviation = _deviation(positive @ unit, negative @ unit)
    if scale == "deviation" and deviation <= 1e-6 * size:
        raise ValueError(f"At the layer {layer} all pictures of a set are the same, and there is no deviation to scale "
                         "the direction by: choose another scale.")
    factor = {"difference": 1.0, "deviation": deviation / length, "unit": 1 / length}[scale]
    for values, name in ((positive, "positive"), (negative, "negative")):
        if not _contents(values).any():
            raise ValueError(f"All pictures of the {name} set are the same at the layer {layer}, so that none is held "
                             "out of the direction that it is judged by: leave the layer out, or give others.")
    above, below = held_out_projections(positive, negative)
    spread = _deviation(above, below)
    apart = (above.mean() - below.mean()).item()
    with torch.inference_mode(False):  # it may take part in gradients later
        vector = (difference * factor).float().clone()
    return LayerDirection(vector, auroc(above, below), apart / spread if spread else math.copysign(math.inf, apart),
                          length, deviation)


def between_means(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """The way (C,) from the mean of negatives (M, C) to that of positives (N, C), and the middle of it."""
    high, low = positive.mean(0), negative.mean(0)
    return high - low, (high + low) / 2


def held_out_projections(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """The projections (N,), (M,) of features (N, C), (M, C) on unit directions that were made without them and without
    those of the same numbers."""
    contents = [_contents(values) for values in (positive, negative)]
    folds = min(FOLDS, *(int(numbers.max()) + 1 for numbers in contents))
    sets, found = (positive, negative), (positive.new_empty(len(positive)), negative.new_empty(len(negative)))
    for fold in range(folds):
        held = [numbers % folds == fold for numbers in contents]
        way, middle = between_means(*(values[~rows] for values, rows in zip(sets, held)))
        unit = way / way.norm().clamp_min(torch.finfo(way.dtype).tiny)
        for values, rows, projections in zip(sets, held, found):
            projections[rows] = (values[rows] - middle) @ unit
    return found


def _contents(values: Tensor) -> Tensor:
    """A number (N,) for each row (N, C), from 0 in their order, the same for rows that are the same."""
    known: dict[bytes, int] = {}
    return torch.tensor([known.setdefault(digest, len(known)) for digest in row_digests(values)])


def _deviation(first: Tensor, second: Tensor) -> float:
    """The square root of the mean variance of two sets (N,), (M,)."""
    return math.sqrt((first.var().item() + second.var().item()) / 2)
