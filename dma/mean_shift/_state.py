"""Everything that an average by mean shift under way needs to go on."""
from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..statistics import RunningMoments
from ._report import AveragedLevel


@dataclass
class MeanShiftState:
    """One average between two events.

    mean: m (1, C, H, W), the clean latent that the last finished level has moved to; None before the first.
    moments: of the predictions of the level under way. variance: of the last finished level's predictions (C, H, W).
    finished: whether `latents` are the finished ones.
    """

    mean: Any = None  # tensors, None before there are any
    moments: RunningMoments = field(default_factory=RunningMoments)
    variance: Any = None
    records: list[AveragedLevel] = field(default_factory=list)
    latents: Any = None
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    @property
    def finished(self) -> bool:
        return self.latents is not None

    def close_level(self, sigma: float) -> None:
        """The level's mean is taken: it is where the average stands now."""
        moments, before = self.moments, self.mean
        size = math.sqrt(moments.mean.numel())
        mean = moments.mean.float()[None]
        certain = moments.effective_count > 1
        self.records.append(AveragedLevel(
            sigma, moments.count, moments.standard_error if certain else None,
            math.sqrt(moments.deviations.sum().item() / moments.weight) / size,
            None if before is None else (mean - before).norm().item() / size))
        self.mean, self.variance = mean, moments.variance.float() if certain else torch.zeros_like(moments.mean).float()
        self.moments = RunningMoments()

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        named = {"mean": self.mean, "variance": self.variance, "latents": self.latents}
        tensors = {name: value for name, value in named.items() if value is not None}
        moments = self.moments
        if moments.count:
            tensors |= {"moments.mean": moments.mean, "moments.deviations": moments.deviations}
        return tensors, {"records": [asdict(record) for record in self.records], "seconds": self.seconds,
                         "pace": self.pace, "moments": [moments.count, moments.weight, moments.squared_weight]}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> MeanShiftState:
        """The state that `packed` was asked for."""
        moments = RunningMoments()
        count, weight, squared_weight = meta["moments"]
        if count:
            moments = RunningMoments(count, weight, squared_weight, tensors["moments.mean"],
                                     tensors["moments.deviations"])
        return cls(tensors.get("mean"), moments, tensors.get("variance"),
                   [AveragedLevel(**record) for record in meta["records"]], tensors.get("latents"), meta["seconds"],
                   meta["pace"])
