"""Everything that a training under way needs to go on."""
from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..execution import RunState
from ._settings import TrainingSettings


@dataclass
class TrainingState:
    """A training between two steps.

    parameters: those that are trained, as they are. optimiser: AdamW with its moments. losses: of every step so far.
    scale: what the loss is multiplied by for the backward pass; 0 before the first step.
    """

    parameters: list[Tensor]
    optimiser: torch.optim.AdamW
    losses: list[float] = field(default_factory=list)
    scale: float = 0.0
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    @classmethod
    def new(cls, parameters: list[Tensor], settings: TrainingSettings) -> TrainingState:
        return cls(parameters, torch.optim.AdamW(
            parameters, lr=settings.learning_rate, betas=(settings.first_decay, settings.second_decay),
            eps=settings.epsilon, weight_decay=settings.weight_decay))

    def update(self, loss: float, gradients: list[Tensor], scale: float) -> None:
        """One step of the optimiser."""
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.losses.append(loss)
        self.scale = scale

    @property
    def where(self) -> str:
        """How far the run has come, in words."""
        return f"step {len(self.losses)}"

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        tensors = {f"{index}.parameter": parameter for index, parameter in enumerate(self.parameters)}
        for index, parameter in enumerate(self.parameters):
            tensors.update({f"{index}.{name}": value for name, value in self.optimiser.state[parameter].items()})
        return tensors, {"losses": self.losses, "scale": self.scale, "seconds": self.seconds}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict, parameters: list[Tensor],
                 settings: TrainingSettings) -> TrainingState:
        """The state that `packed` was asked for, its values written into `parameters`."""
        state = cls.new(parameters, settings)
        with torch.no_grad():
            for index, parameter in enumerate(parameters):
                found = {name.split(".")[1]: value for name, value in tensors.items()
                         if name.split(".")[0] == str(index)}
                parameter.copy_(found.pop("parameter"))
                # AdamW keeps its step count on the CPU, and everything else where the parameter is.
                state.optimiser.state[parameter] = {name: value if name == "step" else value.to(parameter)
                                                    for name, value in found.items()}
        state.losses, state.scale, state.seconds = list(meta["losses"]), meta["scale"], meta["seconds"]
        return state


def state_for(saved: RunState, steps: int) -> RunState:
    """Where a training of so many steps has its state: in `saved`, or beside it if a longer one is kept there.

    The longer one is not given up for the shorter, which cannot go on from it, and either can be interrupted.
    """
    found = saved.load()
    return replace(saved, key=f"{saved.key}-{steps}") if found and len(found[1]["losses"]) > steps else saved
