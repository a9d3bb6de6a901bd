"""Reading every layer of a model on its own trajectories, and trying how far latents can be matched there."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion import Denoiser, LayeredDenoiser, initial_latent, paper_scale, step_all
from ..execution import BatchSize
from ..models import read_features
from ..solvers import LBFGS
from ..statistics import RunningMoments
from ._scores import FEWEST_LATENTS
from ._sketch import Sketch


@dataclass(frozen=True)
class ProbeSettings:
    """What is measured under each prompt.

    samples: N, latents that are sampled and read. steps: the sampling steps, counted from 0, before which they are
    read. matched: how many of them are matched at each layer; which, differs from prompt to prompt. iterations: of
    L-BFGS.
    """

    samples: int = 8
    steps: tuple[int, ...] = (0, 4)
    matched: int = 1
    iterations: int = 6
    seed: int = 0

    def check(self, schedule: int) -> None:
        """Raise ValueError with a sentence for the user if these settings make no sense for `schedule` sampling
        steps."""
        if self.samples < FEWEST_LATENTS:
            raise ValueError(f"samples is {self.samples}: at least {FEWEST_LATENTS} latents per prompt are needed to "
                             "tell layers apart.")
        if not self.steps or not all(0 <= step < schedule for step in self.steps):
            raise ValueError(f"Layers cannot be read before the steps {list(self.steps)} of a schedule of {schedule}: "
                             f"choose one or more from 0 to {schedule - 1}.")
        if not 0 <= self.matched <= self.samples:
            raise ValueError(f"matched is {self.matched}: choose a number between 0 and samples, which is "
                             f"{self.samples}.")
        if self.iterations < 1:
            raise ValueError(f"iterations is {self.iterations}: matching needs at least 1.")

    def matched_latents(self, prompt: int) -> list[int]:
        """Which latents are matched under a prompt: the next ones in turn, so that no latent's share is larger than
        another's."""
        return [(prompt * self.matched + number) % self.samples for number in range(self.matched)]

    def work(self, layers: int) -> int:
        """Passes under one prompt, which the progress bar counts: predictions, readings, and matching layer by
        layer."""
        return self.samples * (max(self.steps) + 2 * len(self.steps) + layers * (self.matched > 0) * len(self.steps))


@dataclass(frozen=True)
class PromptReadings:
    """What was read under one prompt, by step and layer.

    rows: shortened features (N, m), by (step, layer). before, after: |H(z) - A|^2 of matched latents (steps, layers,
    matched).
    """

    rows: dict[tuple[int, str], Tensor]
    before: Tensor
    after: Tensor


def read_prompt(denoiser: LayeredDenoiser, sigmas: Tensor, noise: Tensor, layers: list[str], settings: ProbeSettings,
                sketch: Sketch, matched: list[int], batch: BatchSize,
                heard: Callable[[int], None] = lambda passes: None) -> PromptReadings:
    """Sample N latents from standard normal `noise` (N, C, H, W), and read and match them on the way.

    Features belong to latents that the model meets: at a lower noise level these are its own trajectories under the
    prompt, on which the alignment works as well. Pure noise at that level is nothing the model was trained on, and
    knows no prompt.
    `heard` is told of the passes that are done (see `ProbeSettings.work`).
    """
    latents = initial_latent(denoiser.parametrization, noise, sigmas[0].item())
    rows: dict[tuple[int, str], Tensor] = {}
    before, after = (torch.zeros(len(settings.steps), len(layers), len(matched)) for _ in range(2))
    for step in range(max(settings.steps) + 1):
        sigma = sigmas[step].item()
        if step in settings.steps:
            found: dict[str, list[Tensor]] = {layer: [] for layer in layers}
            for part, reading in batch.over(len(latents), lambda part: denoiser.all_features(
                    latents[part].to(denoiser.device), sigma, layers, lambda layer, features: sketch(features))):
                for layer, values in reading.items():
                    found[layer].append(values.cpu())
                heard(2 * (part.stop - part.start))
            rows.update({(step, layer): torch.cat(values) for layer, values in found.items()})
            for number, layer in enumerate(layers if matched else []):
                place = settings.steps.index(step), number
                before[place], after[place] = match_layer(denoiser.at(layer), latents, sigma, matched,
                                                          settings.iterations, batch)
                heard(len(latents))
        if step < max(settings.steps):
            latents = step_all(denoiser, latents, sigma, sigmas[step + 1].item(), batch=batch,
                               after_batch=lambda count, denoised: heard(count))
    return PromptReadings(rows, before, after)


def match_layer(denoiser: Denoiser, latents: Tensor, sigma: float, matched: list[int], iterations: int,
                batch: BatchSize) -> tuple[Tensor, Tensor]:
    """Squared distances |H(z) - A|^2 (M,) of M of the latents (N, C, H, W) to the mean A of all, before and after
    matching.

    Matching is a few iterations of L-BFGS in the papers' units.
    """
    moments = RunningMoments()
    for _, features in read_features(denoiser, latents, sigma, batch=batch):
        moments.update(features)
    target = moments.mean.float().to(denoiser.device)
    scale, chosen = paper_scale(denoiser.parametrization, sigma), latents[matched]
    solver = LBFGS(iterations=iterations)
    found = [match for _, match in batch.over(len(chosen), lambda part: solver.solve(
        lambda z: denoiser.features(z / scale, sigma), chosen[part].to(denoiser.device) * scale, target))]
    energy = target.square().sum().item()
    before, after = (torch.cat([getattr(match, name).cpu() for match in found])
                     for name in ("residual_before", "residual_after"))
    return energy * before, energy * after
