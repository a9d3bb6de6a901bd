"""Everything that an alignment under way needs to go on."""
from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..named_tensors import below, under
from ..solvers import Begun, Match
from ..statistics import RunningMoments
from ._report import AlignedStep, AlignmentReport

RESIDUALS = ("residual_before", "residual_after")
COUNTS = ("iterations", "forwards", "backwards")
BLOCK = 16
SOLVER = "solver."  # before the names of a solver's tensors


@dataclass
class State:
    """One alignment between two events. `packed` is what is saved of it, and `unpacked` reads it.

    step: steps behind it, the aligned ones and then plain ones. update: targets of the present step that all latents
    have been matched to. matched: latents matched to the present target. count: latents of the first mean.
    target: A, where it is known.
    features, drawn: moments of the first mean under way, of features and of the latents that they are of.
    latents: those that are matched and carried on (K, C, H, W). tally: by name, one number for each of them (K,).
    under_way: those among them that are being matched. nearest: the first latent (1, C, H, W) as it is there.
    kept: whether the latents are those that are sampled to the end, noise that was given back to them included.
    seconds, pace, seconds_left are written by those who watch the clock.
    """

    count: int
    step: int = 0
    update: int = 0
    matched: int = 0
    latents: Any = None  # a tensor from the first mean on
    target: Any = None  # a tensor while latents are matched to it
    tally: dict[str, Tensor] = field(default_factory=dict)
    mean_error: float = 0.0
    features: RunningMoments = field(default_factory=RunningMoments)
    drawn: RunningMoments = field(default_factory=RunningMoments)
    initial_spread: float = math.nan
    records: list[AlignedStep] = field(default_factory=list)
    kept: bool = False
    finished: bool = False
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    seconds_left: float | None = None
    part: str = ""
    under_way: Begun | None = None
    nearest: Any = None  # a tensor while the first latent is matched

    @property
    def first_latent(self) -> Tensor:
        """The first latent (1, C, H, W) as it is by now."""
        return self.latents[:1] if self.nearest is None else self.nearest

    def begun(self, rows: slice) -> Begun | None:
        """What is known of the matching of just these rows; of others nothing is kept."""
        if self.under_way and (self.under_way.start, self.under_way.stop) != (rows.start, rows.stop):
            self.under_way = None
        return self.under_way

    def take_iterate(self, begun: Begun, latents: Tensor) -> None:
        """Latents (b, C, H, W) that are being matched, the best of each so far."""
        self.under_way = begun
        self.nearest = latents[:1].cpu() if begun.start == 0 else None

    @classmethod
    def of_first_mean(cls, features: RunningMoments, latents: RunningMoments) -> State:
        """The state of an alignment whose first mean has been taken elsewhere, over all its `settings.count` rows:
        moments of what `first_features` gives."""
        return cls(features.count, features=features, drawn=latents)

    def take_target(self, mean: Tensor, error: float) -> None:
        """A new target; the first one of a step opens the step's tally."""
        self.target = mean
        self.features, self.drawn = RunningMoments(), RunningMoments()
        if self.update == 0:
            self.mean_error = error
            self.tally = {name: torch.zeros(len(self.latents), dtype=torch.int64 if name in COUNTS else torch.float32)
                          for name in (*RESIDUALS, *COUNTS)}

    def take_match(self, rows: slice, latents: Tensor, found: Match) -> None:
        """Latents of `rows` as they are carried, matched to the target."""
        self.latents[rows] = latents.cpu()
        if self.update == 0:
            self.tally["residual_before"][rows] = found.residual_before.cpu()
        self.tally["residual_after"][rows] = found.residual_after.cpu()
        for name in COUNTS:
            self.tally[name][rows] += getattr(found, name).cpu()
        self.matched, self.under_way, self.nearest = rows.stop, None, None

    def close_update(self) -> None:
        self.target = None
        self.update, self.matched = self.update + 1, 0

    def measured(self, sigma: float, scale: float) -> AlignedStep:
        """The record of the present step, whose latents are all matched; `scale` is from x to the papers' units."""
        spread, norm = spread_and_norm(moments_of(self.latents), scale)
        return AlignedStep(sigma=sigma, mean_error=self.mean_error, spread=spread, norm=norm,
                           mean_count=self.count if self.step == 0 else len(self.latents),
                           **{name: values.tolist() for name, values in self.tally.items()})

    def close_step(self, record: AlignedStep, latents: Tensor) -> None:
        """The step is behind it: its latents have taken their step down."""
        self.records.append(record)
        self.latents, self.tally = latents, {}
        self.step, self.update, self.matched = self.step + 1, 0, 0

    def keep(self, latents: Tensor) -> None:
        """Aligned steps are behind it: these latents are sampled to the end."""
        self.latents, self.kept = latents, True

    def close(self) -> None:
        self.finished = True

    def report(self, settings: dict[str, Any]) -> AlignmentReport:
        return AlignmentReport(settings, self.initial_spread, list(self.records), self.seconds)

    @property
    def where(self) -> str:
        """How far the run has come, in words."""
        return f"step {self.step}"

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        """Tensors, and what JSON can hold."""
        tensors = {} if self.latents is None else {"latents": self.latents, **self.tally}
        if self.target is not None:
            tensors["target"] = self.target
        begun = self.under_way
        if begun and all(torch.isfinite(value).all() for value in begun.memory.values()):
            tensors |= under(SOLVER, begun.memory)
        else:
            begun = None
        first_mean = {}
        for name, moments in {"features": self.features, "drawn": self.drawn}.items():
            if moments.count:
                packed, first_mean[name] = moments.packed()
                tensors |= under(f"{name}.", packed)
        meta = {"step": self.step, "update": self.update, "matched": self.matched, "count": self.count,
                "records": [asdict(record) for record in self.records], "mean_error": self.mean_error,
                "kept": self.kept, "finished": self.finished, "seconds": self.seconds, "pace": self.pace,
                "seconds_left": self.seconds_left}
        if begun:
            meta["under_way"] = [begun.start, begun.stop, begun.iterations]
        if first_mean:
            meta["first_mean"] = first_mean
        if not math.isnan(self.initial_spread):
            meta["initial_spread"] = self.initial_spread
        return tensors, meta

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> State:
        """The state that `packed` was asked for."""
        memory = below(SOLVER, tensors)
        start, stop, iterations = meta.get("under_way", (0, 0, 0))
        begun = Begun(start, stop, iterations, memory) if memory else None
        first_mean = meta.get("first_mean", {})

        def moments(name: str) -> RunningMoments:
            return (RunningMoments.unpacked(below(f"{name}.", tensors), first_mean[name]) if name in first_mean
                    else RunningMoments())

        named = {name: meta[name] for name in ("count", "step", "update", "matched", "finished", "seconds", "pace")}
        return cls(**named, latents=tensors.get("latents"), target=tensors.get("target"),
                   tally={name: tensors[name] for name in (*RESIDUALS, *COUNTS) if name in tensors},
                   kept=meta.get("kept", False), mean_error=meta.get("mean_error", 0.0),
                   initial_spread=meta.get("initial_spread", math.nan),
                   records=[AlignedStep(**record) for record in meta["records"]],
                   seconds_left=meta.get("seconds_left"), under_way=begun, features=moments("features"),
                   drawn=moments("drawn"))


def moments_of(rows: Tensor) -> RunningMoments:
    """Moments of rows (K, ...), a block at a time."""
    moments = RunningMoments()
    for part in rows.split(BLOCK):
        moments.update(part)
    return moments


def spread_and_norm(moments: RunningMoments, scale: float = 1.0) -> tuple[float, float]:
    """Root mean square distance from the mean, and root mean square norm, of latents times `scale`, over sqrt(L)."""
    spread = moments.deviations.sum().item() / moments.weight
    shell = math.sqrt(moments.mean.numel()) / scale
    return math.sqrt(spread) / shell, math.sqrt(spread + moments.mean.square().sum().item()) / shell
