"""Reading every layer of a model on its own trajectories, and trying how far latents can be matched there."""
from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..diffusion import (
    Denoiser,
    LayeredDenoiser,
    at_step,
    check_falling,
    check_finite,
    paper_scale,
    start_scale,
    starting_noise,
    stepping,
)
from ..execution import BatchSize, Event, Progress, choose_batch, retold
from ..models import read_features
from ..solvers import LBFGS, Match, iterates_of
from ..statistics import RunningMoments
from ._report import LayerReport, layer_report
from ._scores import FEWEST_LATENTS, LayerMatching, gram
from ._sketch import Sketch

# Part of the key of every saved probe. Raise the number when one of the same settings gives other results than before.
ALGORITHM = "layer probe 1"


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


@dataclass
class ProbeState:
    """A probe between two prompts, and what it has read.

    prompts: those that have been read. readings: by name, what was read under each of them, (prompts, ...).
    gradient_error: of the self-test, where matching needs one. report: that of a probe that is finished, as JSON.
    """

    prompts: int = 0
    readings: dict[str, Tensor] = field(default_factory=dict)
    gradient_error: float | None = None
    report: str | None = None
    seconds: float = 0.0
    pace: dict[str, list[float]] = field(default_factory=dict)
    part: str = ""

    def take(self, readings: dict[str, Tensor]) -> None:
        """What was read under the next prompt."""
        for name, value in readings.items():
            earlier = [self.readings[name]] if name in self.readings else []
            self.readings[name] = torch.cat([*earlier, value[None]])
        self.prompts += 1

    @property
    def where(self) -> str:
        """How far the run has come, in words."""
        return f"prompt {self.prompts}" if self.report is None else "its end"

    def packed(self) -> tuple[dict[str, Tensor], dict]:
        if self.report is not None:
            return {}, {"report": self.report}
        return self.readings, {"prompts": self.prompts, "seconds": self.seconds, "gradient_error": self.gradient_error}

    @classmethod
    def unpacked(cls, tensors: dict[str, Tensor], meta: dict) -> ProbeState:
        if "report" in meta:
            return cls(report=meta["report"])
        return cls(meta["prompts"], tensors, meta.get("gradient_error"), seconds=meta["seconds"])


@dataclass(frozen=True)
class Probe:
    """What is read of a model, all prompts alike: its layers by name, along falling `sigmas`, on latents of `shape`.

    Raises ValueError for noise levels that do not fall.
    """

    layers: tuple[str, ...]
    sigmas: tuple[float, ...]
    shape: tuple[int, ...]
    prompts: int
    settings: ProbeSettings

    def __post_init__(self) -> None:
        check_falling(torch.tensor(self.sigmas))

    def noise(self, prompt: int) -> Tensor:
        """The starting noise (N, C, H, W) under a prompt: its own, because shared noise would be taken for what the
        prompts have in common."""
        count = self.settings.samples
        return starting_noise(self.prompts * count, self.shape, self.settings.seed).unflatten(
            0, (self.prompts, count))[prompt]


def read_prompt(denoiser: LayeredDenoiser, probe: Probe, state: ProbeState, *,
                batch: BatchSize | None = None) -> Generator[Event, None, None]:
    """The loop of a probe under its next prompt: sample N latents, and read and match them on the way.

    Features belong to latents that the model meets: at a lower noise level these are its own trajectories under the
    prompt, on which the alignment works as well. Pure noise at that level is nothing the model was trained on, and
    knows no prompt. The amounts of the events are passes, and add up to `ProbeSettings.work`.
    """
    settings, sketch, batch = probe.settings, Sketch(), choose_batch(batch, probe.shape)
    matched = settings.matched_latents(state.prompts)
    latents = start_scale(denoiser, probe.sigmas[0]) * probe.noise(state.prompts)
    readings: dict[str, Tensor] = {}
    before, after = (torch.zeros(len(settings.steps), len(probe.layers), len(matched)) for _ in range(2))
    for step in range(max(settings.steps) + 1):
        sigma = probe.sigmas[step]
        if step in settings.steps:
            found: dict[str, list[Tensor]] = {layer: [] for layer in probe.layers}
            for rows, reading in batch.over(len(latents), lambda rows: denoiser.all_features(
                    latents[rows].to(denoiser.device), sigma, list(probe.layers),
                    lambda layer, features: sketch(features))):
                for layer, values in reading.items():
                    with at_step(step + 1, len(probe.sigmas) - 1):
                        found[layer].append(check_finite(values.cpu(), f"The features of the layer {layer}", sigma))
                yield Event("read", 2 * (rows.stop - rows.start), rows.stop, len(latents))
            readings.update({row_name(step, layer): torch.cat(values) for layer, values in found.items()})
            for number, layer in enumerate(probe.layers if matched else ()):
                place = settings.steps.index(step), number
                matching = match_layer(denoiser.at(layer), latents, sigma, matched, settings.iterations, batch)
                before[place], after[place] = yield from retold(matching, lambda share: Event(
                    "match", 0.0, number, len(probe.layers), under_way=share))
                yield Event("match", len(latents), number + 1, len(probe.layers))
        if step < max(settings.steps):
            with at_step(step + 1, len(probe.sigmas) - 1):
                latents = yield from stepping(denoiser, latents, sigma, probe.sigmas[step + 1], batch)
    state.take({**readings, "before": before, "after": after})
    yield Event("prompt", 0.0, closes=True)


def probe_report(probe: Probe, state: ProbeState, choices: dict) -> LayerReport:
    """The report of a probe whose prompts have all been read; `choices` go into its settings."""
    settings = probe.settings
    grams = torch.stack([torch.stack([gram(state.readings[row_name(step, layer)]) for layer in probe.layers])
                         for step in settings.steps])  # (S, L, P, N, P, N)
    matching = None
    if settings.matched:
        before, after = (state.readings[name].movedim(0, 2).double() for name in ("before", "after"))  # (S, L, P, M)
        index = torch.tensor([settings.matched_latents(prompt) for prompt in range(probe.prompts)])  # (P, M)
        matching = LayerMatching(before, after, index)
    found: dict[str, Any] = {"sigmas": [probe.sigmas[step] for step in settings.steps]}
    if state.gradient_error is not None:
        found["gradient_error"] = state.gradient_error
    return layer_report({**choices, **found}, list(probe.layers), grams, matching, state.seconds)


def row_name(step: int, layer: str) -> str:
    return f"rows {step} {layer}"


class ProbeMonitor:
    """A watcher of a probe that tells of its progress: the share of all prompts' passes that is behind it."""

    def __init__(self, tell: Callable[[Progress], None], probe: Probe):
        self.tell, self.work, self.prompts = tell, probe.settings.work(len(probe.layers)), probe.prompts
        self.layer = probe.settings.samples  # passes that matching at one of them counts as
        self.prompt, self.done = -1, 0.0

    def __call__(self, event: Event, state: ProbeState) -> None:
        if event.closes:
            return
        if state.prompts != self.prompt:
            self.prompt, self.done = state.prompts, state.prompts * self.work
        self.done += event.amount
        done = self.done + event.under_way * self.layer
        self.tell(Progress(done / (self.work * self.prompts), f"prompt {self.prompt + 1} of {self.prompts}"))


def match_layer(denoiser: Denoiser, latents: Tensor, sigma: float, matched: list[int], iterations: int,
                batch: BatchSize) -> Generator[float, None, tuple[Tensor, Tensor]]:
    """Squared distances |H(z) - A|^2 (M,) of M of the latents (N, C, H, W) to the mean A of all, before and after
    matching.

    Matching is a few iterations of L-BFGS in the papers' units. It tells, after each micro-batch that is read and each
    iteration, which share of its work lies behind it.
    """
    # A latent that is read takes one pass; one that is matched at most those of its solver.
    solver, moments = LBFGS(iterations=iterations), RunningMoments()
    most = sum(solver.most_passes)
    work = len(latents) + len(matched) * most
    for rows, features in read_features(denoiser, latents, sigma, batch=batch):
        moments.update(features)
        yield rows.stop / work
    target = moments.mean.float().to(denoiser.device)
    scale, chosen = paper_scale(denoiser.parametrization, sigma), latents[matched]
    found: list[Match] = []

    def solve(part: slice) -> Generator[float, None, None]:
        start = chosen[part].to(denoiser.device) * scale  # (b, C, H, W)
        iterates = iterates_of(solver, lambda z: denoiser.features(z / scale, sigma), start, target)
        found.append((yield from retold(iterates, lambda iterate: (
            len(latents) + most * (part.start + (part.stop - part.start) * iterate.share)) / work)))

    yield from batch.through(len(chosen), solve)
    energy = target.square().sum().item()
    before, after = (torch.cat([getattr(match, name).cpu() for match in found])
                     for name in ("residual_before", "residual_after"))
    return energy * before, energy * after
