"""The mean and variance of what a model gives for many rows, whoever works on them."""
from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

from torch import Tensor

from ..diffusion import Denoiser, spread
from ..execution import BatchSize, Event
from ..statistics import BLOCK, Moments, MomentTree, RunningMoments

# Given a Denoiser, what gives the values (b, ...) of rows, by name.
Values = Callable[[Any], Callable[[slice], dict[str, Tensor]]]


def map_moments(denoiser: Denoiser, values: Values, start: int, stop: int, *, batch: BatchSize,
                kinds: dict[str, type[Moments]] | None = None,
                trees: dict[str, MomentTree[Any]] | None = None) -> Generator[Event, None, dict[str, MomentTree[Any]]]:
    """Moments of `values` of the rows `start` ... `stop`, by name, as trees that merge exactly with those of other rows
    (`statistics.MomentTree`): a loop for `execution.drive`.

    Rows go through the model in micro-batches, and their moments are taken where they are: what a worker sends for each
    `BLOCK` rows, or all rows of a micro-batch if that holds several blocks, is a mean and a variance. `batch` is
    rounded up to whole blocks, whose rows are read a micro-batch at a time, so that results do not depend on the
    workers, and on `batch` only by how the model itself rounds.

    kinds: of moments, by name; `RunningMoments` where it is not said. trees: what an interrupted loop had come to, and
    goes on with; it is changed in place. `start` is a multiple of `BLOCK`.

    Raises ValueError for no rows, for a start within a block, for trees of rows from elsewhere, beyond `stop` or of
    another kind, and where `values` does not give a row for each that it is asked for, the same names every time, or
    what `kinds` names.

    >>> doubling = lambda denoiser: lambda rows: {"doubled": 2.0 * torch.arange(rows.start, rows.stop)[:, None]}
    >>> *events, last = map_moments(None, doubling, 16, 50, batch=BatchSize(20), trees=(trees := {}))
    >>> [(event.row, event.rows) for event in (*events, last)], trees["doubled"].moments().mean.item()
    ([(32, 34), (34, 34)], 65.0)
    """
    kinds = kinds or {}
    found: dict[str, MomentTree[Any]] = {} if trees is None else trees
    if start % BLOCK or not 0 <= start < stop:
        raise ValueError(f"Moments of the rows {start} to {stop} cannot be taken: there is to be a row, and the first "
                         f"is a multiple of {BLOCK}.")
    done = next((tree.stop for tree in found.values()), start)
    for name, tree in found.items():
        if (tree.start, tree.stop) != (start, done):
            raise ValueError(f"The tree of {name} has rows {tree.start} to {tree.stop}, but is to go on with rows "
                             f"{start} to {done}.")
        if tree.kind is not kinds.get(name, tree.kind):
            raise ValueError(f"The tree of {name} holds {tree.kind.__name__}, but kinds says {kinds[name].__name__}.")
    if done > stop or done < stop and done % BLOCK:
        raise ValueError(f"There are moments of the rows {start} to {done}, which do not go on to {stop}.")
    blocks = BatchSize(-(-batch.value // BLOCK) * BLOCK)
    task = functools.partial(taking_moments, values=values, size=batch.value, kinds=kinds)
    for rows, parts in spread(denoiser, blocks, stop, task, first=done):
        if not found:
            found.update((name, MomentTree(part.kind, start)) for name, part in parts.items())
        if found.keys() != parts.keys():
            raise ValueError(f"The rows {rows.start} to {rows.stop} gave {', '.join(sorted(parts))}, but those before "
                             f"{', '.join(sorted(found))}.")
        for name, part in parts.items():
            found[name].merge(part)
        yield Event("mean", rows.stop - rows.start, rows.stop - start, stop - start, changed=True)
    return found


def taking_moments(denoiser: Any, *, values: Values, size: int,
                   kinds: dict[str, type[Moments]]) -> Callable[[slice], dict[str, MomentTree[Any]]]:
    """What takes the moments of whole blocks of rows, `size` rows at a time through the model."""
    function = values(denoiser)
    batch = BatchSize(size)

    def take(rows: slice) -> dict[str, MomentTree[Any]]:
        trees: dict[str, MomentTree[Any]] = {}
        for here, found in batch.over(rows.stop, function, rows.start):
            if unknown := sorted(kinds.keys() - found.keys()):
                raise ValueError(f"kinds names {', '.join(unknown)}, but there is only {', '.join(sorted(found))}.")
            for name, part in found.items():
                if len(part) != here.stop - here.start:
                    raise ValueError(f"values gave {len(part)} rows of {name} for the rows {here.start} to "
                                     f"{here.stop}.")
                if name not in trees:
                    trees[name] = MomentTree(kinds.get(name, RunningMoments), rows.start)
                trees[name].update(part)
        return trees

    return take
