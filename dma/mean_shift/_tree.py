"""The family tree of a concept: the modes of samples at rising noise levels.

At a noise level sigma with K fixed noises eps_k, the map

    y <- mean_k D(add_noise(y, eps_k, sigma), sigma)

is deterministic, a step of mean shift in the density that the model knows, blurred by sigma. The noises come in pairs
of both signs: a mean e of their own would move the modes, by s^2 e / sigma where the data vary by s, which with 16
noises is farther than the data go.

A sample that is moved by the map until it stands still ends in a mode. Samples that end in the same one are one flow
from there on; at the next, higher level their flows are moved on, and modes merge as the blur grows (mode seeking along
a scale space: Fukunaga and Hostetler 1975; Sclocchi, Favero and Wyart, arXiv 2402.16991, see the same hierarchy in a
diffusion model). It starts from the samples' own clean latents, at the lowest of the levels.

Guidance is applied again at each iteration: with more than a little of it the iteration runs away. Look for modes at
guidance 1, and draw their averages (`mean_shift` from a mode's point on) at the guidance that pictures want.

Two flows have met when they are no farther apart than the standard error of the mean that both move to, as if the K
noises were not paired; they are one from there on. A flow stands still when at its pace it would not go half as far in
all of the iterations. Where a mode is wider than the noise plain steps are short for long, so flows have momentum.
"""
from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion import Denoiser, NoisePairs, add_noise, at_step, check_falling, check_finite, salted_seed
from ..execution import BatchSize, Clock, Event, Watcher, choose_batch, drive
from ._tree_move import Move
from ._tree_settings import TreeSettings
from ._tree_state import TreeLevel, TreeState

# Part of the key of every saved run. Raise the number when one of the same settings gives another tree than before.
TREE_ALGORITHM = "mode tree 3"


@dataclass(frozen=True)
class ModeTree:
    """The levels of a family tree, from the lowest noise level on: modes of a level merge at the next."""

    levels: tuple[TreeLevel, ...]
    seconds: float

    def parents(self, level: int) -> list[int]:
        """For each mode of a level the mode of the next one that it is a part of."""
        below, above = self.levels[level].labels, self.levels[level + 1].labels
        return [int(above[below == mode][0]) for mode in range(len(self.levels[level].points))]


def mode_tree(denoiser: Denoiser, clean: Tensor, sigmas: Tensor, settings: TreeSettings, *,
              batch: BatchSize | None = None, watchers: Sequence[Watcher] = (),
              state: TreeState | None = None) -> ModeTree:
    """The family tree of finished samples, clean latents (N, C, H, W), at levels of the schedule `sigmas` (S + 1,).

    denoiser: the prompt at low guidance. The result does not depend on `batch` beyond rounding. Costs at most N * K *
    iterations predictions at the lowest level, and less at each higher one.

    Raises ValueError for settings that make no sense, for noise levels that do not fall and for samples that are not
    finite, and, as NotFiniteError that names the step, where the model predicts NaN or infinity.
    """
    check_falling(sigmas)
    settings.check(len(clean), len(sigmas) - 1)
    clean = check_finite(clean.detach().cpu().float(), "The samples", 0.0)
    state = state or TreeState.of(clean)
    drive(tree_levels(denoiser, sigmas.tolist(), settings, choose_batch(batch, clean.shape[1:]), state), state,
          (Clock(), *watchers))
    return ModeTree(tuple(state.levels), state.seconds)


def tree_levels(denoiser: Denoiser, sigmas: Sequence[float], settings: TreeSettings, batch: BatchSize,
                state: TreeState) -> Generator[Event, None, None]:
    """The loop of `mode_tree`: works on `state` from where it stands to its end."""
    for step in sorted(settings.steps, reverse=True)[len(state.levels) :]:
        pairs = NoisePairs(settings.count, tuple(state.flows.points.shape[1:]), tree_seed(settings.seed, step))
        noise = pairs[0 : settings.count]  # (K, C, H, W)
        with at_step(step + 1, len(sigmas) - 1):
            while state.move or (state.flows.iteration < settings.iterations
                                 and len(state.flows.moving(settings.iterations))):
                move = state.move or state.begin_move(state.flows.moving(settings.iterations), settings.count)
                yield from predicting(denoiser, move, noise, sigmas[step], batch)
                state.finish_move()
                yield Event("iteration", 0.0, value=state.flows.pace.max().item(), changed=True)
        state.close_level(step, sigmas[step], still=not len(state.flows.moving(settings.iterations)))
        yield Event("level", 0.0, value=float(len(state.flows.points)), closes=True)


def tree_seed(seed: int, step: int) -> int:
    """The seed of the noises that all samples share at a level: not those that samples of this seed are drawn from, nor
    those that their averages are taken over, by which a mode would look surer than it is."""
    return salted_seed(seed, f"tree {step}")


def predicting(denoiser: Denoiser, move: Move, noise: Tensor, sigma: float,
               batch: BatchSize) -> Generator[Event, None, None]:
    """The predictions that a move lacks: of each point that it asks for, noised by all of the noise (K, C, H, W)."""
    count = len(noise)

    def predict(rows: slice) -> Tensor:
        numbers = torch.arange(rows.start, rows.stop)
        x = add_noise(denoiser.parametrization, move.asked[numbers // count], noise[numbers % count], sigma)
        return check_finite(denoiser.denoise(x.to(denoiser.device), sigma), "Predictions", sigma)

    for rows, predicted in batch.over(move.predictions, predict, first=move.done):
        move.add(predicted)
        yield Event("predict", rows.stop - rows.start, rows.stop, move.predictions, clean=predicted[:1], changed=True)
