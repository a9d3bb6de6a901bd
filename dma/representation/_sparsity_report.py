"""Sparsity over the blocks of a network and noise levels: a typed record that saves to JSON, and its table."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..precision import in_double
from ..records import Record
from ._representation import Representation, check_representation
from ._sparsity import FEWEST_FOR_TAILS, FEWEST_PICTURES, participation, specialised, varying


@dataclass(frozen=True)
class BlockSparsity:
    """One block. Lists hold one number for each noise level; null where there is none, as for channels that are all 0.

    participation: the normalised participation ratio of the channel means, mean over pictures; error: its standard
    error. differences: the same of what is left without the mean over pictures, which tells them apart. specialised:
    share of the channels that vary which have heavy tails over pictures; 0.01 by chance, null for too few pictures.
    """

    name: str
    channels: int
    participation: list[float | None]
    error: list[float | None]
    differences: list[float | None]
    specialised: list[float | None]


@dataclass(frozen=True)
class SparsityReport(Record):
    """The sparsity of a network's blocks in running order.

    settings: pictures (how many), sigmas (the noise levels), draws, seed, and whatever else they were read with.
    """

    FORMAT = "mental-averages/sparsity-report"
    NAME = "a report of sparsity"

    settings: dict
    blocks: list[BlockSparsity]
    seconds: float = 0.0

    def check(self) -> None:
        sigmas = self.settings.get("sigmas")
        levels = len(sigmas) if isinstance(sigmas, list) else 0
        for block in self.blocks:
            if any(len(getattr(block, name)) != levels for name in ("participation", "error", "differences",
                                                                    "specialised")):
                raise ValueError(f"{block.name} has other noise levels than its settings name")

    def table(self) -> str:
        """The numbers as a Markdown table, a row for each block and noise level."""
        def shown(value: float | None) -> str:
            return "-" if value is None else f"{value:.3f}"

        lines = ["| block | channels | noise level | participation | standard error | of differences | specialised |",
                 "| --- | --- | --- | --- | --- | --- | --- |"]
        for block in self.blocks:
            for number, sigma in enumerate(self.settings["sigmas"]):
                numbers = (block.participation, block.error, block.differences, block.specialised)
                lines.append(f"| {block.name} | {block.channels} | {sigma:.3g} | "
                             + " | ".join(shown(column[number]) for column in numbers) + " |")
        return "\n".join(lines)


def sparsity(representations: Sequence[Representation], settings: dict | None = None,
             seconds: float = 0.0) -> SparsityReport:
    """The sparsity of channel means (N, L, C) of the same N pictures at several layers, in their order.

    Raises ValueError for fewer than two pictures, for none or several kinds of reading, and for representations that
    are not means over space, or hold NaN or infinity.
    """
    if not representations:
        raise ValueError("There are no representations whose sparsity could be told.")
    first = representations[0]
    for found in representations:
        if found.pooling != "mean" or found.means.ndim != 3:
            raise ValueError(f"Sparsity is that of channel means, but the layer {found.layer} was read with the "
                             f"pooling {found.pooling}.")
        check_representation(found)
        if (found.sigmas, len(found)) != (first.sigmas, len(first)):
            raise ValueError(f"The layers {first.layer} and {found.layer} were read of other pictures, or at other "
                             "noise levels.")
    if len(first) < FEWEST_PICTURES:
        raise ValueError(f"Sparsity and what is special to a picture are told by {FEWEST_PICTURES} pictures or more, "
                         f"but there is {len(first)}.")
    found_settings = {"pictures": len(first), "sigmas": list(first.sigmas), "draws": first.draws, "seed": first.seed}
    return SparsityReport({**found_settings, **(settings or {})}, list(map(_block, representations)), seconds)


def _block(found: Representation) -> BlockSparsity:
    levels = [_numbers(level) for level in in_double(found.means).unbind(1)]  # of (N, C)
    return BlockSparsity(found.layer, found.means.shape[2], *(list(column) for column in zip(*levels)))


def _numbers(values: Tensor) -> tuple[float | None, ...]:
    """Of channel means (N, C) at one noise level: the four numbers of a block."""
    ratios, vary = participation(values), varying(values)
    apart = participation((values - values.mean(0)) * vary)
    special = torch.tensor(math.nan)
    if len(values) >= FEWEST_FOR_TAILS and vary.any():
        special = specialised(values).sum() / vary.sum()
    return tuple(value if math.isfinite(value) else None for value in (
        ratios.mean().item(), ratios.std().item() / math.sqrt(len(ratios)), apart.mean().item(), special.item()))
