"""Everything that a reconstruction under way needs to go on."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..named_tensors import below, under
from ..precision import in_double
from ..solvers import Match
from ._channel_means import MeansState
from ._reconstruction_report import ReconstructedLevel

RESIDUALS = ("residual_before", "residual_after")
COUNTS = ("iterations", "forwards", "backwards")
MEANS = "means "


@dataclass
class ReconstructionState:
    """A reconstruction between two events.

    matched: latents that the present level has finished. latents: the clean latents (K, C, H, W), those of the present
    level up to `matched` and of the one before from there on. tally: by name, one number (K,) for each latent.
    means: the reading of the finished latents.
    """

    matched: int = 0
    latents: Any = None  # a tensor from the first level on
    tally: dict[str, Tensor] = field(default_factory=dict)
    records: list[ReconstructedLevel] = field(default_factory=list)
    means: MeansState = field(default_factory=MeansState)
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    def open_level(self, start: Tensor) -> None:
        """Nothing of the present level is done; the first one starts from the clean latents `start`."""
        if self.latents is None:
            self.latents = start.clone()
        self.tally = {name: torch.zeros(len(self.latents), dtype=torch.int64 if name in COUNTS else torch.float32)
                      for name in (*RESIDUALS, *COUNTS)}

    def take(self, rows: slice, clean: Tensor, found: Match) -> None:
        """Latents of `rows` have been matched, and denoised to `clean` (b, C, H, W)."""
        self.latents[rows] = clean.cpu()
        for name in (*RESIDUALS, *COUNTS):
            self.tally[name][rows] = getattr(found, name).cpu().to(self.tally[name].dtype)
        self.matched = rows.stop

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
        return tensors, {"matched": self.matched, "records": [asdict(record) for record in self.records],
                         "means": means, "seconds": self.seconds, "pace": self.pace}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> ReconstructionState:
        """The state that `packed` was asked for."""
        return cls(meta["matched"], tensors.get("latents"),
                   {name: tensors[name] for name in (*RESIDUALS, *COUNTS) if name in tensors},
                   [ReconstructedLevel(**record) for record in meta["records"]],
                   MeansState.unpacked(below(MEANS, tensors), meta["means"]), meta["seconds"], meta["pace"])
