"""Everything that a reconstruction under way needs to go on."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..named_tensors import below, under
from ..precision import in_double
from ..solvers import Begun, Match
from ._channel_means import MeansState
from ._reconstruction_report import ReconstructedLevel

RESIDUALS = ("residual_before", "residual_after")
COUNTS = ("iterations", "forwards", "backwards")
MEANS = "means "
SOLVER = "solver "


@dataclass
class ReconstructionState:
    """A reconstruction between two events.

    matched: latents that the present level has finished. latents: the clean latents (K, C, H, W), those of the present
    level up to `matched` and of the one before from there on. tally: by name, one number (K,) for each latent.
    means: the reading of the finished latents. under_way: those latents that are being matched.
    """

    matched: int = 0
    latents: Any = None  # a tensor from the first level on
    tally: dict[str, Tensor] = field(default_factory=dict)
    records: list[ReconstructedLevel] = field(default_factory=list)
    means: MeansState = field(default_factory=MeansState)
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""
    under_way: Begun | None = None

    def open_level(self, start: Tensor) -> None:
        """Nothing of the present level is done; the first one starts from the clean latents `start`."""
        if self.latents is None:
            self.latents = start.clone()
        self.tally = {name: torch.zeros(len(self.latents), dtype=torch.int64 if name in COUNTS else torch.float32)
                      for name in (*RESIDUALS, *COUNTS)}

    def begun(self, rows: slice) -> Begun | None:
        """What is known of the matching of just these rows; of others nothing is kept."""
        if self.under_way and (self.under_way.start, self.under_way.stop) != (rows.start, rows.stop):
            self.under_way = None
        return self.under_way

    def take(self, rows: slice, clean: Tensor, found: Match) -> None:
        """Latents of `rows` have been matched, and denoised to `clean` (b, C, H, W)."""
        self.latents[rows] = clean.cpu()
        for name in (*RESIDUALS, *COUNTS):
            self.tally[name][rows] = getattr(found, name).cpu().to(self.tally[name].dtype)
        self.matched, self.under_way = rows.stop, None

    def close_level(self, sigma: float) -> None:
        spread = (in_double(self.latents) - in_double(self.latents).mean(0)).square().mean().sqrt().item()
        self.records.append(ReconstructedLevel(sigma=sigma, spread=spread, **{
            name: values.tolist() for name, values in self.tally.items()}))
        self.matched, self.tally = 0, {}

    @property
    def where(self) -> str:
        """How far the run has come, in words."""
        return f"step {len(self.records)}"

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        sums, means = self.means.packed()
        tensors = {**self.tally, **under(MEANS, sums)}
        if self.latents is not None:
            tensors["latents"] = self.latents
        meta = {"matched": self.matched, "records": [asdict(record) for record in self.records], "means": means,
                "seconds": self.seconds, "pace": self.pace}
        begun = self.under_way
        # One value that is not finite would keep all of the state from being saved.
        if begun and all(torch.isfinite(value).all() for value in begun.memory.values()):
            tensors |= under(SOLVER, begun.memory)
            meta["under_way"] = [begun.start, begun.stop, begun.iterations]
        return tensors, meta

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> ReconstructionState:
        """The state that `packed` was asked for."""
        start, stop, iterations = meta.get("under_way", (0, 0, 0))
        memory = below(SOLVER, tensors)
        begun = Begun(start, stop, iterations, memory) if memory else None
        return cls(meta["matched"], tensors.get("latents"),
                   {name: tensors[name] for name in (*RESIDUALS, *COUNTS) if name in tensors},
                   [ReconstructedLevel(**record) for record in meta["records"]],
                   MeansState.unpacked(below(MEANS, tensors), meta["means"]), meta["seconds"], meta["pace"],
                   under_way=begun)
