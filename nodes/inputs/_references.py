"""References that a flag is told by."""
from __future__ import annotations

import logging
import math
from collections.abc import Collection, Sequence
from typing import Any

from ...dma.statistics import OTHERWISE, cautions, fewest_references, listed
from ..comfyui import Recorded

SHOWN = 8  # values in a sentence
# What tells samplings apart (see `comfyui.SamplingKind`), in words.
WAYS = {"model": "by another model, LoRA or patch", "prompts": "with other prompts",
        "guidance": "at guidance {here} instead of {there}", "sampler": "by the sampler {here} instead of {there}",
        "steps": "in {here} steps instead of {there}", "start": "from noise level {here} instead of {there}"}


def check_reference_count(count: int, what: str, rate: float, advice: str) -> None:
    """Raise ValueError, with advice on how to get more, where so many references are too few for a false positive
    rate."""
    needed = fewest_references(rate)
    if count < needed:
        # Rounded up: at less than 1 / (count + 1) nothing could be flagged.
        least = math.ceil(1000 / (count + 1)) / 1000
        held = f"{count} {what.removesuffix('s') if count == 1 else what}"
        raise ValueError(f"references holds {held}, but a false positive rate of {rate:g} needs at least {needed}: "
                         f"{advice}, or choose {least:g} or more.")


def sampled_otherwise(found: Sequence[Recorded | None], usual: Sequence[Recorded | None],
                      leaving_out: Collection[str] = ()) -> dict[str, list[str]]:
    """How latents were sampled as none of the references was, by what was recorded of both, as an entry for the
    settings of a report: each way with the numbers of the latents, from 1, no entry for none. It is said in the log as
    well.

    leaving_out: the names of ways that may differ.
    """
    names = [name for name in WAYS if name not in leaving_out]
    references = list(dict.fromkeys(each.kind for each in usual if each is not None))
    kinds = {row: each.kind for row, each in enumerate(found, 1) if each is not None and references}
    said, told = [], set()
    for name in names:
        known = dict.fromkeys(getattr(kind, name) for kind in references)
        others: dict[Any, list[int]] = {}
        for row, kind in kinds.items():
            if getattr(kind, name) not in known:
                others.setdefault(getattr(kind, name), []).append(row)
        told.update(*others.values())
        there = " or ".join(map(_shown, list(known)[:SHOWN]))
        said += [f"{listed(rows)} {WAYS[name].format(here=_shown(value), there=there)}"
                 for value, rows in others.items()]
    together = {tuple(getattr(kind, name) for name in names) for kind in references}
    # Each way is that of some reference, but not of the same one.
    mixed = [row for row, kind in kinds.items()
             if row not in told and tuple(getattr(kind, name) for name in names) not in together]
    said += [f"{listed(mixed)} in ways that no reference has together"] * bool(mixed)
    entry = {OTHERWISE: said} if said else {}
    if entry:
        logging.warning("%s", cautions(entry, len(usual))[-1])
    return entry


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
