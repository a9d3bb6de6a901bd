"""Training a few parameters of a diffusion model, an adapter's or an embedding's, on clean latents.

The objective is the model's own: a clean latent is brought to a noise level drawn from the model's schedule, and the
error of what the network predicts there is made smaller with AdamW (arXiv 1711.05101). Everything random depends on the
seed and the number of the step alone, so that a run that was interrupted ends where an uninterrupted one does.
"""
from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from ..execution import BatchSize, Progress, RunState
from ._draws import Draw
from ._loss import Loss
from ._report import TrainingReport, running_mean
from ._settings import TrainingSettings

SECONDS_BETWEEN_SAVES = 10.0
SMALLEST_LOSS_SCALE = 2.0**-20


@dataclass(frozen=True)
class Training:
    """The trained parameters, detached and on the CPU in the order in which they were given, and what was measured."""

    parameters: list[Tensor]
    report: TrainingReport


def train(parameters: list[Tensor], loss: Loss, draws: Callable[[int], Draw], settings: TrainingSettings,
          saved: RunState | None = None, progress: Callable[[Progress], None] = lambda event: None,
          preview: Callable[[int], Tensor | None] = lambda done: None, micro_batch: int = 0) -> Training:
    """Train `parameters` in place with AdamW on the mean of loss(rows (b,), noise (b, ...), sigma (b,)) -> (b,).

    parameters: leaf tensors in fp32 or better, which `loss` uses. draws: the rest of a step, as `draw` gives it.
    saved: where the state is kept at intervals, and when an exception (an interrupt, too) ends the training; a state
    found there is gone on from, to the same bits as without the interruption. It may be of fewer steps than
    `settings.steps`; one of more steps is neither used nor replaced (`state_for`).
    preview: a clean latent (1, C, H, W) to show after so many steps, or None.
    micro_batch: latents per pass, 0 for automatic; fewer when memory runs out. It changes nothing but rounding.
    Call it with inference mode off. Raises ValueError for settings that make no sense, and where the loss becomes
    infinite or NaN.
    """
    settings.check()
    if any(not parameter.is_leaf or torch.finfo(parameter.dtype).bits < 32 for parameter in parameters):
        raise ValueError("Only leaf tensors in 32 bits or more can be trained.")
    run = _Run(parameters, loss, draws, settings, saved, micro_batch)
    started, first = time.monotonic(), len(run.losses)
    try:
        while (done := len(run.losses)) < settings.steps:
            run.step()
            pace = (time.monotonic() - started) / (done + 1 - first)
            message = f"step {done + 1} of {settings.steps}, loss {running_mean(run.losses[-100:])[-1]:.4g}"
            progress(Progress((done + 1) / settings.steps, message, preview(done + 1),
                              pace * (settings.steps - done - 1)))
            if time.monotonic() - run.last_save > SECONDS_BETWEEN_SAVES:
                run.save()
    finally:
        if len(run.losses) > first:
            run.save()
    return Training([parameter.detach().cpu().clone() for parameter in parameters],
                    TrainingReport(asdict(settings), list(run.losses), run.seconds))


def state_for(saved: RunState, steps: int) -> RunState:
    """Where a training of so many steps has its state: in `saved`, or beside it if a longer one is kept there.

    The longer one is not given up for the shorter, which cannot go on from it, and either can be interrupted.
    """
    found = saved.load()
    return replace(saved, key=f"{saved.key}-{steps}") if found and len(found[1]["losses"]) > steps else saved


class _Run:
    """One training under way, always between two steps when something goes wrong."""

    def __init__(self, parameters, loss, draws, settings, saved, micro_batch):
        self.parameters, self.loss, self.draws, self.settings = parameters, loss, draws, settings
        self.saved = state_for(saved, settings.steps) if saved else None
        self.micro_batch = micro_batch
        self.optimiser = torch.optim.AdamW(
            parameters, lr=settings.learning_rate, betas=(settings.first_decay, settings.second_decay),
            eps=settings.epsilon, weight_decay=settings.weight_decay)
        self.losses: list[float] = []
        self.scale = 0.0  # not known before the first step
        self.seconds_before, self.started = 0.0, time.monotonic()
        self.last_save = self.started
        if self.saved and (found := self.saved.load()):
            self.restore(*found)

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def step(self) -> None:
        rows, noise, sigma = self.draws(len(self.losses))
        if not self.scale:
            # The gradient of a mean over thousands of elements is below what 16-bit floats can tell from 0. Powers of
            # two change no digit of a loss or a gradient, so that in 32 bits this has no effect.
            self.scale = 2.0 ** round(math.log2(noise[0].numel()))
        batch = BatchSize(self.micro_batch) if self.micro_batch else BatchSize.automatic(noise[0].numel())
        value, gradients = self.loss_and_gradients(rows, noise, sigma, batch)
        while not torch.stack([gradient.isfinite().all() for gradient in gradients]).all():
            if self.scale <= SMALLEST_LOSS_SCALE:
                raise ValueError(f"The gradient of step {len(self.losses) + 1} is infinite or not a number: choose a "
                                 "higher precision.")
            self.scale /= 2
            value, gradients = self.loss_and_gradients(rows, noise, sigma, batch)
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.micro_batch = batch.value
        self.losses.append(value)

    def loss_and_gradients(self, rows: Tensor, noise: Tensor, sigma: Tensor,
                           batch: BatchSize) -> tuple[float, list[Tensor]]:
        """The mean loss of a step's rows, and its gradients, which are added up over micro-batches."""
        def part(where: slice) -> tuple[float, tuple[Tensor | None, ...]]:
            with torch.enable_grad():
                losses = self.loss(rows[where], noise[where], sigma[where])
                if not losses.requires_grad:
                    raise ValueError("The loss does not depend on anything that is to be trained.")
                share = losses.sum() / len(rows)
                # Returned, not added to .grad, so that a pass that runs out of memory half-way leaves nothing behind.
                return share.item(), torch.autograd.grad(share * self.scale, self.parameters, allow_unused=True)

        total, gradients = 0.0, [torch.zeros_like(parameter) for parameter in self.parameters]
        for _, (share, found) in batch.over(len(rows), part):
            total += share
            for gradient, added in zip(gradients, found):
                if added is not None:
                    gradient += added / self.scale
        if not math.isfinite(total):
            raise ValueError(f"The loss of step {len(self.losses) + 1} is infinite or not a number: lower "
                             "learning_rate, or choose a higher precision.")
        return total, gradients

    def save(self) -> None:
        self.last_save = time.monotonic()
        if self.saved:
            tensors = {f"{index}.parameter": parameter for index, parameter in enumerate(self.parameters)}
            for index, parameter in enumerate(self.parameters):
                tensors.update({f"{index}.{name}": value for name, value in self.optimiser.state[parameter].items()})
            self.saved.save(tensors, {"losses": self.losses, "scale": self.scale, "seconds": self.seconds})

    def restore(self, tensors: dict[str, Tensor], meta: dict) -> None:
        with torch.no_grad():
            for index, parameter in enumerate(self.parameters):
                state = {name.split(".")[1]: value
                         for name, value in tensors.items() if name.split(".")[0] == str(index)}
                parameter.copy_(state.pop("parameter"))
                # AdamW keeps its step count on the CPU, and everything else where the parameter is.
                self.optimiser.state[parameter] = {name: value if name == "step" else value.to(parameter)
                                                   for name, value in state.items()}
        self.losses, self.scale, self.seconds_before = list(meta["losses"]), meta["scale"], meta["seconds"]
