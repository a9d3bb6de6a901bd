"""What a family tree of modes is: a typed record that saves to JSON."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ..clustering import Share
from ..records import Record
from ._tree import ModeTree
from ._tree_settings import TreeSettings

MOST_LEAVES = 12  # that a picture of a tree has room for


@dataclass(frozen=True)
class TreeMode:
    """A mode of one level: samples, their share of all with its 95 % Wilson interval, and the mode (number) of the
    next higher level that it is a part of; null at the highest."""

    count: int
    share: float
    low: float
    high: float
    parent: int | None


@dataclass(frozen=True)
class TreeLevelRecord:
    """The modes at a noise level, the largest first. labels: the mode of each sample. iterations, error, still: see
    `TreeLevel`; the error is a distance between latents."""

    step: int
    sigma: float
    iterations: int
    error: float
    still: bool
    labels: list[int]
    modes: list[TreeMode]


@dataclass(frozen=True)
class ModeTreeReport(Record):
    """The settings and the levels of a family tree, the lowest noise level first, and the seconds it took."""

    FORMAT = "mental-averages/mode-tree"
    NAME = "a family tree of modes"

    settings: dict
    levels: list[TreeLevelRecord]
    seconds: float = 0.0

    @classmethod
    def of(cls, tree: ModeTree, settings: TreeSettings) -> ModeTreeReport:
        records = []
        for number, level in enumerate(tree.levels):
            parents = tree.parents(number) if number + 1 < len(tree.levels) else [None] * len(level.points)
            modes = [TreeMode(**asdict(Share.of(count, len(level.labels))), parent=parent)
                     for count, parent in zip(level.sizes, parents)]
            records.append(TreeLevelRecord(level.step, level.sigma, level.iterations, level.error, level.still,
                                           level.labels.tolist(), modes))
        return cls(asdict(settings), records, tree.seconds)

    def check(self) -> None:
        samples = {len(level.labels) for level in self.levels}
        if len(samples) > 1:
            raise ValueError("its levels are of different samples")
        for number, level in enumerate(self.levels):
            if any(not 0 <= label < len(level.modes) for label in level.labels):
                raise ValueError(f"levels[{number}] has samples in modes that it has not")
            above = len(self.levels[number + 1].modes) if number + 1 < len(self.levels) else 0
            if any((mode.parent is None) == bool(above) or (mode.parent is not None and not 0 <= mode.parent < above)
                   for mode in level.modes):
                raise ValueError(f"levels[{number}] has modes that are a part of none of the next level")

    def shown(self, most: int = MOST_LEAVES) -> list[list[int]]:
        """For each level the modes that hold the `most` largest of the lowest level, in an order in which branches do
        not cross: a mode's parts stand side by side, the largest first."""
        kept = [list(range(min(most, len(self.levels[0].modes))))] if self.levels else []
        for level in self.levels[:-1]:
            kept.append(sorted({self.parent_of(level, mode) for mode in kept[-1]}))
        ordered = [kept.pop()] if kept else []
        for level, modes in zip(reversed(self.levels[:-1]), reversed(kept)):
            places = {mode: place for place, mode in enumerate(ordered[0])}
            ordered.insert(0, sorted(modes, key=lambda mode: (places[self.parent_of(level, mode)], mode)))
        return ordered

    @staticmethod
    def parent_of(level: TreeLevelRecord, mode: int) -> int:
        parent = level.modes[mode].parent
        assert parent is not None, "only the highest level has modes without a parent"
        return parent


def agreement(one: Sequence[int], other: Sequence[int]) -> float:
    """The adjusted Rand index of two ways (N,) to sort the same samples into modes: 1 for the same, 0 for chance
    (Hubert and Arabie 1985).

    Raises ValueError unless they are of as many samples.

    >>> agreement([0, 0, 1, 1], [1, 1, 0, 0]), agreement([0, 0, 1, 1], [0, 1, 0, 1])
    (1.0, -0.5)
    """
    from sklearn.metrics import adjusted_rand_score

    if len(one) != len(other):
        raise ValueError(f"Only modes of the same samples can be compared, but these are of {len(one)} and "
                         f"{len(other)}.")
    return float(adjusted_rand_score(one, other))


def tree_agreement(one: ModeTreeReport, other: ModeTreeReport) -> list[float]:
    """The adjusted Rand index at each level of two trees of the same samples, the lowest level first.

    Raises ValueError for trees of other noise levels or samples.
    """
    if [level.step for level in one.levels] != [level.step for level in other.levels]:
        raise ValueError("Only trees with the same levels can be compared.")
    return [agreement(first.labels, second.labels) for first, second in zip(one.levels, other.levels)]
