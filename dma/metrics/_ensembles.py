"""Pictures that come from ensembles: those of one are not independent of each other."""
from __future__ import annotations

from torch import Tensor


def check_ensembles(count: int, ensemble_size: int) -> None:
    """Raise ValueError unless so many pictures can be divided into ensembles of this size."""
    if ensemble_size < 1 or count % ensemble_size:
        raise ValueError(f"{count} pictures cannot be divided into ensembles of {ensemble_size}.")


def ensemble_means(values: Tensor, ensemble_size: int) -> Tensor:
    """The means (R, ...) of R ensembles of values (N, ...), of which one ensemble's follow one another.

    Their mean is that of all values, and their variance over R is the square of its error, whatever the values of one
    ensemble have to do with each other.

    Raises ValueError where `check_ensembles` does.

    >>> import torch
    >>> ensemble_means(torch.tensor([1.0, 3.0, 5.0, 5.0]), 2)
    tensor([2., 5.])
    """
    check_ensembles(len(values), ensemble_size)
    return values if ensemble_size == 1 else values.unflatten(0, (-1, ensemble_size)).mean(1)
