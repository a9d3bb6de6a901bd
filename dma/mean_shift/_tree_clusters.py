"""One level of a family tree as the clusters that other methods take."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..clustering import Clusters, Share, principal_components
from ..precision import in_double
from ..statistics import blocks
from ._tree import ModeTree
from ._tree_report import SEVERAL
from ._tree_settings import TreeSettings
from ._tree_state import TreeLevel

DIMENSIONS = 16  # principal components of the samples that are kept to be looked at


@dataclass(frozen=True)
class Cut:
    """Which level of a family tree is taken: `level`, counted from 1 for the highest noise level, or the highest that
    has at least `modes` modes of two samples or more, or else the one with most of them. One of the two is None."""

    modes: int | None = None
    level: int | None = None

    def check(self, levels: int) -> None:
        """Raise ValueError unless a tree of so many levels can be cut so."""
        if (self.modes is None) == (self.level is None):
            raise ValueError("A family tree is cut at a level or at a number of modes: give one of them.")
        if self.modes is not None and self.modes < 1:
            raise ValueError(f"modes is {self.modes}: a family tree has at least one mode.")
        if self.level is not None and not 1 <= self.level <= levels:
            raise ValueError(f"level is {self.level}, but the family tree has {levels} levels: choose one from 1, the "
                             f"highest noise level, to {levels}.")

    def of(self, tree: ModeTree) -> int:
        """The number of the level among those of the tree, which begin with the lowest."""
        if self.level is not None:
            return len(tree.levels) - self.level
        families = [families_of(level) for level in tree.levels]
        wanted = min(self.modes or 1, max(families))
        return max(number for number, count in enumerate(families) if count >= wanted)

    def taken(self, level: TreeLevel) -> int:
        """How many modes of the chosen level, from the largest on, are taken: all of a level that was asked for, else
        those of two samples or more, and single samples only where there is nothing else."""
        return len(level.sizes) if self.level is not None else families_of(level) or len(level.sizes)


def families_of(level: TreeLevel) -> int:
    """How many modes of a level have two samples or more."""
    return sum(size >= SEVERAL for size in level.sizes)


@dataclass(frozen=True)
class TreeClusterSettings:
    """How modes were found: at which step and noise level of a family tree, and by which settings of it."""

    step: int
    sigma: float
    tree: TreeSettings
    method: str = "mode tree"


def tree_clusters(tree: ModeTree, samples: Tensor, level: int, settings: TreeSettings) -> Clusters:
    """The modes at a level (number) of the tree of finished samples, clean latents (N, C, H, W).

    A sample is in one mode alone, and the nearer it is to where the mode stands the more typical. Coordinates are
    principal components of the samples. There is no BIC.

    Raises ValueError for samples that are all the same, or not those of the tree.
    """
    found = tree.levels[level]
    if len(samples) != len(found.labels):
        raise ValueError(f"The tree is of {len(found.labels)} samples, but these are {len(samples)}.")
    # A few at a time: latents may fill much of the memory, and in fp64 there would be twice as many again of them.
    apart = torch.cat([
        (in_double(samples[rows]) - in_double(found.points[found.labels[rows]])).flatten(1).norm(dim=1)
        for rows in blocks(len(samples), samples[:1].numel())])  # (N,)
    modes = len(found.points)
    members = tuple(tuple(sorted(torch.nonzero(found.labels == mode).flatten().tolist(),
                                 key=lambda row: (round(apart[row].item(), 9), row))) for mode in range(modes))
    shares = tuple(Share.of(size, len(samples)) for size in found.sizes)
    coordinates, explained = principal_components(samples.flatten(1), DIMENSIONS)
    responsibilities = in_double(torch.nn.functional.one_hot(found.labels, modes))
    return Clusters(found.labels, responsibilities, members, shares, coordinates, explained, (),
                    TreeClusterSettings(found.step, found.sigma, settings))
