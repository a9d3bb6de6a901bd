"""Shards: the moments of some rows of a long mean in a file of their own, and how they become one."""
from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import replacing
from ._moment_tree import MomentTree
from ._named_trees import pack_trees, unpack_trees

FORMAT = "mental-averages/moment-shard-1"
ANSWERS = "answers"  # the name of their tensor, which no part of a tree has


@dataclass(frozen=True)
class Shard:
    """Moments of the rows `start` ... `stop` of a mean over `total` rows.

    trees: by name, moments of what each row gives; all of the same rows. settings: all that rows depend on, as what
    JSON can hold.

    answers: what the model that gave the rows answers to a fixed question (`models.fingerprint`), which tells apart
    models that settings do not; nothing where it was not asked. made_by: where, as what JSON can hold. Neither is part
    of the key: other machines round otherwise.

    >>> tree = MomentTree(); tree.update(torch.ones(16, 2))
    >>> shard = Shard({"seed": 1}, 32, {"features": tree})
    >>> shard.start, shard.stop, len(shard.key)
    (0, 16, 64)
    """

    settings: Mapping[str, Any]
    total: int
    trees: Mapping[str, MomentTree[Any]]
    answers: Tensor = field(default_factory=lambda: torch.zeros(0))
    made_by: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ranges = {(tree.start, tree.stop) for tree in self.trees.values()}
        if len(ranges) != 1 or not 0 <= self.start < self.stop <= self.total:
            raise ValueError(f"A shard holds one range of rows within 0 and {self.total}, but this one "
                             f"{' and '.join(f'{start} to {stop}' for start, stop in sorted(ranges)) or 'none'}.")

    @property
    def start(self) -> int:
        return next(iter(self.trees.values())).start

    @property
    def stop(self) -> int:
        return next(iter(self.trees.values())).stop

    @property
    def key(self) -> str:
        """A hash of the settings: shards of the same mean have the same."""
        return settings_key(self.settings, self.total)

    @property
    def is_whole(self) -> bool:
        return (self.start, self.stop) == (0, self.total)


def settings_key(settings: Mapping[str, Any], total: int) -> str:
    """The hash of the settings of a mean over `total` rows, which its shards are told by."""
    return hashlib.sha256(json.dumps({"settings": settings, "total": total}, sort_keys=True).encode()).hexdigest()


def save_shard(shard: Shard, path: Path) -> None:
    """Write a shard as safetensors, with settings, their hash and the range of rows in the header, whole or not at
    all. Raises ValueError for moments that are not finite."""
    from safetensors.torch import save_file

    packed, trees = pack_trees(shard.trees)
    tensors = {name: value.contiguous() for name, value in {**packed, ANSWERS: shard.answers}.items()}
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise ValueError(f"The moments of rows {shard.start} to {shard.stop} hold NaN or infinity.")
    header = {"format": FORMAT, "key": shard.key, "start": str(shard.start), "stop": str(shard.stop),
              "total": str(shard.total), "settings": json.dumps(shard.settings, sort_keys=True),
              "trees": json.dumps(trees), "made_by": json.dumps(shard.made_by, sort_keys=True)}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_shard(path: Path) -> Shard:
    """Read what `save_shard` wrote. Raises ValueError for any other file, for one that is damaged or changed, and for
    one that cannot be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        # At once: safetensors opens a file by its name several times, and another server may replace it in between, so
        # that the settings would be those of one shard and the numbers those of another.
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read ({error.strerror or error}).") from None
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a whole safetensors file: {error}.") from None
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__") or {}
    if header.get("format") != FORMAT:
        raise ValueError(f"{path.name} does not hold a shard of a mean.")
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise ValueError(f"{path.name} is a damaged shard: it holds NaN or infinity.")
    try:
        answers = tensors.pop(ANSWERS, torch.zeros(0))
        trees = unpack_trees(tensors, json.loads(header["trees"]))
        settings, total = json.loads(header["settings"]), int(header["total"])
        made_by = json.loads(header.get("made_by", "{}"))
        named = header["key"], int(header["start"]), int(header["stop"])
    except KeyError as error:
        raise ValueError(f"{path.name} is a damaged shard: it lacks {error}.") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path.name} is a damaged shard: {error}.") from None
    shard = Shard(settings, total, trees, answers, made_by)
    if (shard.key, shard.start, shard.stop) != named:
        raise ValueError(f"{path.name} is a damaged shard: its settings or rows are not those of its header.")
    return shard


def merge_shards(shards: Sequence[Shard], names: Sequence[str] = (), *,
                 words: Mapping[str, str] | None = None) -> Shard:
    """The moments of all rows of a mean, from shards in any order that hold each row once.

    What comes out does not depend on how many shards there were, to the last bit (`MomentTree`). `names`: what shards
    are called in messages, such as their files. `words`: what settings are called there, by their names. What their
    models answered is for the caller to compare: here it is that of the first rows.

    Raises ValueError for shards of other settings, that overlap, or that leave out rows.
    """
    if not shards:
        raise ValueError("There is no shard to merge.")
    called = list(names) or [f"shard {number}" for number in range(1, len(shards) + 1)]
    for name, shard in zip(called[1:], shards[1:]):
        if shard.key != shards[0].key:
            raise ValueError(f"{name} belongs to other settings than {called[0]}: "
                             f"{_difference(shards[0], shard, words or {})}.")
    ordered = sorted(zip(shards, called), key=lambda pair: pair[0].start)
    first, _ = ordered[0]
    trees = {name: MomentTree(tree.kind) for name, tree in first.trees.items()}
    reached, before = 0, ""
    for shard, name in ordered:
        if shard.start > reached:
            raise ValueError(f"Rows {reached} to {shard.start} are missing: no shard holds them.")
        if shard.start < reached:
            raise ValueError(f"{before} and {name} overlap: both hold rows {shard.start} to "
                             f"{min(reached, shard.stop)}.")
        for key, tree in trees.items():
            tree.merge(shard.trees[key])
        reached, before = shard.stop, name
    if reached < first.total:
        raise ValueError(f"Rows {reached} to {first.total} are missing: no shard holds them.")
    return dataclasses.replace(first, trees=trees)


def _difference(one: Shard, other: Shard, words: Mapping[str, str]) -> str:
    if one.total != other.total:
        return f"they are of a mean over {other.total} rows and not {one.total}"
    names = sorted(name for name in one.settings.keys() | other.settings.keys()
                   if one.settings.get(name) != other.settings.get(name))
    return f"{', '.join(words.get(name, name) for name in names)} {'are' if len(names) > 1 else 'is'} not the same"
