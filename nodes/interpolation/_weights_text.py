"""Mixing weights as text: one row per line, as people type them and MixingWeights writes them."""
from __future__ import annotations

import torch
from torch import Tensor

from ...dma import interpolation
from ..inputs import words

DECIMALS = 6


def parse_weights(text: str, count: int) -> Tensor:
    """Weights (M, count) written as text: one row per line, numbers apart by spaces, commas or semicolons.

    Empty lines and lines that begin with # are skipped; a text without rows means one row of equal weights. Rows are
    checked, and divided by their sum, as in `interpolation.normalised_weights`. Raises ValueError, naming the line, for
    anything else.

    >>> parse_weights("1 0  # one end\\n0.5, 0.5", 2)
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000]], dtype=torch.float64)
    """
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        found = words(line.partition("#")[0])
        if not found:
            continue
        try:
            rows.append([float(word) for word in found])
        except ValueError:
            raise ValueError(f"Line {number} of the weights is not a row of numbers: {line.strip()!r}. Write one "
                             "number for each latent, apart by spaces.") from None
        if len(found) != count:
            raise ValueError(f"Line {number} of the weights has {len(found)} numbers, but there are {count} latents: "
                             "give one number for each latent.")
    if not rows:
        return interpolation.equal_weights(count)
    return interpolation.normalised_weights(torch.tensor(rows, dtype=torch.float64), count)


def weights_to_text(weights: Tensor) -> str:
    """Weights (M, N) as text that `parse_weights` reads, with six decimals.

    >>> weights_to_text(torch.tensor([[1.0, 0.0], [0.25, 0.75]]))
    '1 0\\n0.25 0.75'
    """
    return "\n".join(" ".join(f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".") for value in row)
                     for row in weights.tolist())
