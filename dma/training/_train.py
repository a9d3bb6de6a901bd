"""Training a few parameters of a diffusion model, an adapter's or an embedding's, on clean latents.

The objective is the model's own: a clean latent is brought to a noise level drawn from the model's schedule, and the
error of what the network predicts there is made smaller with AdamW (arXiv 1711.05101). Everything random depends on the
seed and the number of the step alone, so that a run that was interrupted ends where an uninterrupted one does.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..execution import BatchSize, Clock, Event, Watcher, choose_batch, drive
from ..loss_scale import falling_scales, power_of_two
from ._draws import Draw
from ._loss import Loss
from ._report import TrainingReport
from ._settings import TrainingSettings
from ._state import TrainingState

# Part of the key of every saved training. Raise the number when one of the same settings gives other results than
# before.
ALGORITHM = "training 1"


@dataclass(frozen=True)
class Training:
    """The trained parameters, detached and on the CPU in the order in which they were given, and what was measured."""

    parameters: list[Tensor]
    report: TrainingReport


def train(parameters: list[Tensor], loss: Loss, draws: Callable[[int], Draw], settings: TrainingSettings, *,
          batch: BatchSize | None = None, watchers: Sequence[Watcher] = (),
          state: TrainingState | None = None) -> Training:
    """Train `parameters` in place with AdamW on the mean of loss(rows (b,), noise (b, ...), sigma (b,)) -> (b,).

    parameters: leaf tensors in fp32 or better, which `loss` uses. draws: the rest of a step, as `draw` gives it.
    batch: latents per pass; it changes nothing but rounding. state: of a training that has been under way before, to go
    on from to the same bits as without the interruption; it may be of fewer steps than `settings.steps`.
    Call it with inference mode off. Raises ValueError for settings that make no sense, and where the loss becomes
    infinite or NaN.
    """
    settings.check()
    if any(not parameter.is_leaf or torch.finfo(parameter.dtype).bits < 32 for parameter in parameters):
        raise ValueError("Only leaf tensors in 32 bits or more can be trained.")
    state = state or TrainingState.new(parameters, settings)
    drive(steps(parameters, loss, draws, settings, batch, state), state, (Clock(), *watchers))
    return Training([parameter.detach().cpu().clone() for parameter in parameters],
                    TrainingReport(asdict(settings), list(state.losses), state.seconds))


def steps(parameters: list[Tensor], loss: Loss, draws: Callable[[int], Draw], settings: TrainingSettings,
          batch: BatchSize | None, state: TrainingState) -> Generator[Event, None, None]:
    """The loop of `train`."""
    while (done := len(state.losses)) < settings.steps:
        drawn = draws(done)
        batch = choose_batch(batch, drawn.noise.shape[1:])
        # The gradient of a mean over thousands of elements is below what 16-bit floats can tell from 0. Powers of two
        # change no digit of a loss or a gradient, so that in 32 bits this has no effect.
        for scale in falling_scales(state.scale or power_of_two(drawn.noise[0].numel())):
            value, gradients = yield from _loss_and_gradients(parameters, loss, drawn, scale, batch, done)
            if torch.stack([gradient.isfinite().all() for gradient in gradients]).all():
                state.update(value, gradients, scale)
                break
        else:
            raise ValueError(f"The gradient of step {done + 1} is infinite or not a number: choose a higher precision.")
        del gradients  # not to be in memory beside those of the next step
        yield Event("train", row=done + 1, rows=settings.steps, value=value, changed=True,
                    closes=done + 1 == settings.steps)


def _loss_and_gradients(parameters: list[Tensor], loss: Loss, drawn: Draw, scale: float, batch: BatchSize,
                        done: int) -> Generator[Event, None, tuple[float, list[Tensor]]]:
    """The mean loss of a step's rows, and its gradients, which are added up over micro-batches."""
    def part(rows: slice) -> tuple[float, tuple[Tensor | None, ...]]:
        with torch.enable_grad():
            losses = loss(drawn.rows[rows], drawn.noise[rows], drawn.sigma[rows])
            if not losses.requires_grad:
                raise ValueError("The loss does not depend on anything that is to be trained.")
            share = losses.sum() / len(drawn.rows)
            # Returned, not added to .grad, so that a pass that runs out of memory half-way leaves nothing behind.
            return share.item(), torch.autograd.grad(share * scale, parameters, allow_unused=True)

    total, gradients = 0.0, [torch.zeros_like(parameter) for parameter in parameters]
    for rows, (share, found) in batch.over(len(drawn.rows), part):
        total += share
        for gradient, added in zip(gradients, found):
            if added is not None:
                gradient += added / scale
        yield Event("gradient", rows.stop - rows.start)
    if not math.isfinite(total):
        raise ValueError(f"The loss of step {done + 1} is infinite or not a number: lower learning_rate, or choose a "
                         "higher precision.")
    return total, gradients
