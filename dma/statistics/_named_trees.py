"""Several moment trees under names, to be saved together."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..named_tensors import below, under
from ._moment_tree import MomentTree
from ._moments import RunningMoments
from ._paired_moments import PairedMoments

KINDS: dict[str, type] = {"rows": RunningMoments, "pairs": PairedMoments}


def pack_trees(trees: Mapping[str, MomentTree[Any]]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, and what JSON can hold.

    >>> sorted(unpack_trees(*pack_trees({"features": MomentTree(), "latents": MomentTree(PairedMoments)})))
    ['features', 'latents']
    """
    tensors, numbers = {}, {}
    for name, tree in trees.items():
        packed, own = tree.packed()
        tensors |= under(f"{name}/", packed)
        numbers[name] = {"kind": next(word for word, each in KINDS.items() if each is tree.kind), **own}
    return tensors, numbers


def unpack_trees(tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> dict[str, MomentTree[Any]]:
    """The trees that `pack_trees` was given. Raises KeyError for what is not there."""
    return {name: MomentTree.unpacked(KINDS[own["kind"]], below(f"{name}/", tensors), own)
            for name, own in numbers.items()}
