"""Complete runs of the published recipe, made once and kept as final latents, by concept and seed."""
from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ._paths import ROOT

NAIVE_COUNT = 32  # K of the runs that are kept
NAIVE_RUNS = ROOT / "benchmarks" / "naive_pictures"


@functools.cache
def demo_weights() -> str:
    """What tells the stored weights of the demo model from others."""
    return hashlib.sha256((ROOT / "demo" / "weights.safetensors").read_bytes()).hexdigest()[:16]


class NaiveRun(NamedTuple):
    """A complete run: the residual after each aligned step, the seconds it took then, and its final latent (L,).

    `weights` are those of the demo model that it was made with.
    """

    concept: str
    seed: int
    count: int
    guidance: float
    residual_after: list[float]
    seconds: float
    latent: Tensor
    weights: str

    def latents(self, shape: tuple[int, ...]) -> Tensor:
        """The final latent as (1, C, H, W), in the model's units."""
        return self.latent.view(1, *shape)

    def save(self, folder: Path) -> None:
        written = self._asdict() | {"seconds": round(self.seconds),
                                    "latent": [round(value, 5) for value in self.latent.tolist()]}
        naive_path(folder, self.concept, self.seed).write_text(json.dumps(written) + "\n")


def naive_path(folder: Path, concept: str, seed: int) -> Path:
    return folder / f"{concept.replace(' ', '_')}_{seed}.json"


def naive_runs(concept: str, repetitions: int, folder: Path = NAIVE_RUNS) -> list[NaiveRun]:
    """The runs of a concept that are kept, of the stored weights and of the seeds below `repetitions`, by seed."""
    paths = [naive_path(folder, concept, seed) for seed in range(repetitions)]
    kept = [json.loads(path.read_text()) for path in paths if path.exists()]
    return [NaiveRun(**(entry | {"latent": torch.tensor(entry["latent"])})) for entry in kept
            if entry.get("weights") == demo_weights()]
