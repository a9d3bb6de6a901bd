"""Everything that an average by mean shift under way needs to go on."""
from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..named_tensors import below, under
from ..statistics import PairedMoments
from ._report import AveragedLevel

MOMENTS = "moments."  # before the names of their tensors


@dataclass
class MeanShiftState:
    """One average between two events.

    mean: m (1, C, H, W), the clean latent that the last finished level has moved to; None before the first.
    moments: of the predictions of the level under way. variance: of the last finished level's predictions (C, H, W).
    start: the clean latent (1, C, H, W) that it began from, if there was one. finished: whether `latents` are the
    finished ones.
    """

    mean: Any = None  # tensors, None before there are any
    start: Any = None
    moments: PairedMoments = field(default_factory=PairedMoments)
    variance: Any = None
    records: list[AveragedLevel] = field(default_factory=list)
    latents: Any = None
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    @property
    def finished(self) -> bool:
        return self.latents is not None

    @classmethod
    def of_first_mean(cls, moments: PairedMoments, sigma: float) -> MeanShiftState:
        """The state of an average whose first level, at noise level `sigma`, has been taken elsewhere: moments of what
        `first_predictions` gives."""
        state = cls(moments=moments)
        state.close_level(sigma)
        return state

    def close_level(self, sigma: float) -> None:
        """The level's mean is taken: it is where the average stands now."""
        moments, before = self.moments, self.mean
        size = math.sqrt(moments.mean.numel())
        mean = moments.mean.float()[None]
        self.records.append(AveragedLevel(
            sigma, moments.count, moments.standard_error,
            math.sqrt(moments.rows.deviations.sum().item() / moments.count) / size,
            None if before is None else (mean - before).norm().item() / size))
        self.mean = mean
        self.variance = (moments.variance if moments.count > 1 else torch.zeros_like(moments.mean)).float()
        self.moments = PairedMoments()

    @property
    def where(self) -> str:
        """How far the run has come, in words."""
        return f"step {len(self.records)}"

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        named = {"mean": self.mean, "start": self.start, "variance": self.variance, "latents": self.latents}
        tensors = {name: value for name, value in named.items() if value is not None}
        moments, numbers = self.moments.packed()
        return tensors | under(MOMENTS, moments), {
            "records": [asdict(record) for record in self.records], "seconds": self.seconds, "pace": self.pace,
            "moments": numbers}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> MeanShiftState:
        """The state that `packed` was asked for."""
        moments = PairedMoments.unpacked(below(MOMENTS, tensors), meta["moments"])
        return cls(tensors.get("mean"), tensors.get("start"), moments, tensors.get("variance"),
                   [AveragedLevel(**record) for record in meta["records"]], tensors.get("latents"), meta["seconds"],
                   meta["pace"])
