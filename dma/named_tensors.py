"""Tensors under names of parts, as saved states and shards hold them: `moments.mean` is the part `moments`' `mean`."""
from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a part, their names with its prefix, which ends in what separates the two.

    >>> list(under("moments.", {"mean": Tensor()}))
    ['moments.mean']
    """
    return {prefix + name: tensor for name, tensor in tensors.items()}


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `under` was given: the tensors whose names begin with the prefix, without it.

    >>> list(below("moments.", {"moments.mean": Tensor(), "latents": Tensor()}))
    ['mean']
    """
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
