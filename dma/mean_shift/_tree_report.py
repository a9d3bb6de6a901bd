"""What a family tree of modes is: a typed record that saves to JSON."""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ..clustering import Share
from ..records import Record
from ._tree import ModeTree
from ._tree_settings import TreeSettings

MOST_LEAVES = 12  # that a picture of a tree has room for
SEVERAL = 2  # samples, from which on a mode is more than a sample
ROUNDED = 1e-6  # by how much shares and their intervals may be off: that of all samples may end just below 1


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
        if not self.levels:
            raise ValueError("it has no levels")
        if len({len(level.labels) for level in self.levels}) > 1:
            raise ValueError("its levels are of different samples")
        if not 0 <= self.seconds < math.inf:
            raise ValueError(f"seconds is {self.seconds}")
        for number, level in enumerate(self.levels):
            _check_level(level, f"levels[{number}]")
        for number, (level, above) in enumerate(zip(self.levels, [*self.levels[1:], None])):
            if above is not None and not (level.step > above.step and level.sigma <= above.sigma):
                raise ValueError(f"levels[{number}] is not of a later step and a lower noise level than the next")
            _check_parents(level, above, f"levels[{number}]")

    def shown(self, most: int = MOST_LEAVES) -> list[list[int]]:
        """For each level the modes that a picture with `most` leaves shows, in an order in which branches do not cross:
        a mode's parts stand side by side, the largest first.

        Modes of several samples, the largest of the whole tree first and of equal ones the highest, have a branch from
        the top through themselves and the largest of their parts to a leaf. None is left out while a smaller one has a
        branch of its own. Single samples have none, unless there is nothing else.
        """
        every = [(number, mode) for number, level in enumerate(self.levels) for mode in range(len(level.modes))]
        asking = [(number, mode) for number, mode in every if self.levels[number].modes[mode].count >= SEVERAL]
        asking.sort(key=lambda place: (-self.levels[place[0]].modes[place[1]].count, -place[0], place[1]))
        largest = self._largest_parts()
        kept: list[set[int]] = [set() for _ in self.levels]
        for number, mode in asking or [place for place in every if place[0] == len(self.levels) - 1]:
            if mode in kept[number]:
                continue
            if len(kept[0]) == most:
                break
            # What it is a part of is higher and no smaller, and so has its branch already.
            kept[number].add(mode)
            for below in range(number - 1, -1, -1):
                mode = largest[below][mode]
                kept[below].add(mode)
        return self._side_by_side(kept)

    def hidden(self, number: int, shown: Sequence[int]) -> tuple[int, int]:
        """How many modes of a level are not among those shown, and how many samples they hold."""
        counts = [mode.count for index, mode in enumerate(self.levels[number].modes) if index not in shown]
        return len(counts), sum(counts)

    def _largest_parts(self) -> list[dict[int, int]]:
        """For each level but the highest, the largest of its modes in each mode of the next level."""
        found: list[dict[int, int]] = []
        for level in self.levels[:-1]:
            found.append({})
            for mode in sorted(range(len(level.modes)), key=lambda mode: (-level.modes[mode].count, mode)):
                found[-1].setdefault(self.parent_of(level, mode), mode)
        return found

    def _side_by_side(self, kept: Sequence[set[int]]) -> list[list[int]]:
        """The modes of each level in an order in which branches do not cross."""
        ordered = [sorted(kept[-1])] if kept else []
        for level, modes in zip(reversed(self.levels[:-1]), reversed(kept[:-1])):
            places = {mode: place for place, mode in enumerate(ordered[0])}
            ordered.insert(0, sorted(modes, key=lambda mode: (places[self.parent_of(level, mode)], mode)))
        return ordered

    @staticmethod
    def parent_of(level: TreeLevelRecord, mode: int) -> int:
        parent = level.modes[mode].parent
        assert parent is not None, "only the highest level has modes without a parent"
        return parent


def _check_level(level: TreeLevelRecord, place: str) -> None:
    """Raise ValueError, with half a sentence, if the fields of one level contradict one another."""
    if not level.labels:
        raise ValueError(f"{place} has no samples")
    if level.step < 0 or level.iterations < 0 or not (0 < level.sigma < math.inf and 0 <= level.error < math.inf):
        raise ValueError(f"{place} is of step {level.step}, noise level {level.sigma}, {level.iterations} iterations "
                         f"and error {level.error}")
    if any(not 0 <= label < len(level.modes) for label in level.labels):
        raise ValueError(f"{place} has samples in modes that it has not")
    found = Counter(level.labels)
    counts = [found[mode] for mode in range(len(level.modes))]
    for index, (mode, count) in enumerate(zip(level.modes, counts)):
        if mode.count != count or not count:
            raise ValueError(f"{place}.modes[{index}] has a count of {mode.count}, but {count} samples have its label")
        if not (abs(mode.share - count / len(level.labels)) <= ROUNDED
                and 0 <= mode.low <= mode.share + ROUNDED and mode.share - ROUNDED <= mode.high <= 1):
            raise ValueError(f"{place}.modes[{index}] has a share of {mode.share} between {mode.low} and {mode.high}, "
                             f"but {count} of {len(level.labels)} samples")
    if counts != sorted(counts, reverse=True):
        raise ValueError(f"{place} has modes that do not begin with the largest")


def _check_parents(level: TreeLevelRecord, above: TreeLevelRecord | None, place: str) -> None:
    """Raise ValueError, with half a sentence, unless each mode is a part of the one that all its samples are in at the
    next higher level."""
    if above is None:
        if any(mode.parent is not None for mode in level.modes):
            raise ValueError(f"{place} is the highest level, but has modes that are a part of another")
        return
    for label, whole in zip(level.labels, above.labels):
        if level.modes[label].parent != whole:
            raise ValueError(f"{place}.modes[{label}] is said to be a part of mode {level.modes[label].parent} of the "
                             f"next level, but has samples of its mode {whole}")


def tree_agreement(one: ModeTreeReport, other: ModeTreeReport) -> list[float]:
    """How alike two trees sort the same samples: the adjusted Rand index of their modes at each level, the lowest
    first, 1 for the same and 0 for chance (Hubert and Arabie 1985).

    Raises ValueError for trees of other steps or numbers of samples.
    """
    from sklearn.metrics import adjusted_rand_score

    if [level.step for level in one.levels] != [level.step for level in other.levels]:
        raise ValueError("Only trees with the same levels can be compared.")
    for first, second in zip(one.levels, other.levels):
        if len(first.labels) != len(second.labels):
            raise ValueError("Only trees of the same samples can be compared, but these are of "
                             f"{len(first.labels)} and {len(second.labels)}.")
    return [float(adjusted_rand_score(first.labels, second.labels))
            for first, second in zip(one.levels, other.levels)]
