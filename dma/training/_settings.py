"""The choices of a training that its result depends on."""
from __future__ import annotations

import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class TrainingSettings:
    """The choices of a training that its result depends on.

    steps: AdamW updates. learning_rate: the same for all of them.
    batch_size: latents per update; with fewer latents than that, some come up more than once in an update.
    first_decay, second_decay, epsilon: AdamW's constants beta1, beta2 and epsilon.
    weight_decay: share of a parameter, times learning_rate, that every update takes away; 0.01 is PyTorch's default.
    """

    steps: int = 2000
    learning_rate: float = 1e-4
    batch_size: int = 1
    seed: int = 0
    first_decay: float = 0.9
    second_decay: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01

    def check(self) -> None:
        """Raise ValueError with a sentence for the user if these settings make no sense."""
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}: training takes at least 1 step (2000 is usual for a LoRA, 3000 "
                             "for an embedding).")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate is {self.learning_rate}: it must be a positive number, such as 0.0001 for "
                             "a LoRA and 0.01 for an embedding.")
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}: at least 1 latent is needed per step.")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: use 0 or a positive number.")
        if not (0 <= self.first_decay < 1 and 0 <= self.second_decay < 1):
            raise ValueError(f"AdamW's decay rates are {self.first_decay} and {self.second_decay}: they must be at "
                             "least 0 and below 1.")
        if self.epsilon <= 0 or self.weight_decay < 0:
            raise ValueError("AdamW's epsilon must be positive, and weight_decay must not be negative.")

    def key(self) -> dict:
        """All that a saved state has to agree in: everything but `steps`, because a longer run is a shorter one
        continued."""
        return {name: value for name, value in asdict(self).items() if name != "steps"}
