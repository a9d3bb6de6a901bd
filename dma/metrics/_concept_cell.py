"""What was found of one word by one model, and what about it looks wrong."""
from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..precision import in_double
from ._copies import COPY

FEWEST_TO_RANK = 8  # with fewer, one that is the last in a row is too often so by chance


@dataclass(frozen=True, eq=False)
class ConceptCell:
    """What was found of one word by one model: its average, and N samples that start from the same noise everywhere.

    average: the picture (H, W, 3), 8 bits; None where there is none, and `problem` says why. own_features: those of the
    average (D,). features: those of the samples (N, D). answers: what was seen in each sample, "" for nothing.
    nearest: how far each sample is from the nearest other, as root mean square difference (N,). sharpness: of the
    samples (N,), and of the average. mean_error: the relative standard error of the average.
    """

    average: Tensor | None = None
    own_features: Tensor = field(default_factory=lambda: torch.empty(0))
    features: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    answers: tuple[str, ...] = ()
    nearest: Tensor = field(default_factory=lambda: torch.empty(0))
    sharpness: Tensor = field(default_factory=lambda: torch.empty(0))
    own_sharpness: float = 0.0
    mean_error: float | None = None
    problem: str = ""


def doubts(cell: ConceptCell) -> list[str]:
    """What about a cell looks wrong, in a few words each.

    - copies: samples of different noise that differ from another by at most 0.02 of the range of a pixel. Many that are
      one picture are how memorised pictures were found by Carlini et al. 2023 (arXiv 2301.13188).
    - unlike its samples: the average is farther from the samples, as root mean square distance of features, than every
      sample is from the others and the average. It shows something that the model does not draw.
    - softer than its samples: the average is less sharp than every sample.

    The last two are asked of 8 samples or more. If the average were one more sample, each would be said of it once in
    N + 1 times.
    """
    found = []
    copies = int((cell.nearest <= COPY).sum())
    if copies:
        found.append(f"{copies} of {len(cell.nearest)} samples are copies")
    if len(cell.features) >= FEWEST_TO_RANK:
        if _is_farthest(cell.own_features, cell.features):
            found.append("unlike its samples")
        if cell.own_sharpness < cell.sharpness.min():
            found.append("softer than its samples")
    return found


def _is_farthest(own: Tensor, features: Tensor) -> bool:
    """Whether a row (D,) is farther from all rows of features (N, D) than each of those is from all others and from it:
    the last of N + 1 in a row, where each is as likely to be that."""
    rows, row = in_double(features), in_double(own)
    from_mean = (rows - rows.mean(0)).square().sum(1)  # (N,)
    to_own = (rows - row).square().sum(1)  # (N,)
    among_rows = len(rows) * from_mean + from_mean.sum()  # (N,), squared distances to all rows, added up
    return bool(to_own.sum() > (among_rows + to_own).max())
