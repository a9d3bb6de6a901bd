"""What the presets cost beside the naive recipe, in passes, seconds and memory, for alignment_speed.py."""
from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from _passes import BATCH, Counted, measure_costs, whole_forwards
from _pictures import NAIVE, PAIRS
from support import GUIDANCE, NAIVE_COUNT, STEPS, naive_runs, preset_settings, print_table, shifted_average, timed

from mental_averages.dma.alignment import Monitor, align
from mental_averages.dma.baselines import zero_latent_sample
from mental_averages.dma.execution import BatchSize, Progress
from mental_averages.dma.mean_shift import MeanShiftSettings

SHIFTED, ZERO = "mean shift", "zero-latent sample"
SHARE = 0.02  # of the naive recipe's iterations, measured


class Subject(Protocol):
    """A model to measure; DemoModel is one."""

    shape: tuple[int, ...]

    def with_denoiser(self, prompt: str, guidance_scale: float, function: Callable) -> Any: ...


@dataclass(frozen=True)
class Run:
    """One run of a recipe. `passes` are encoder-pass equivalents; `estimate` is the whole time as it was first told,
    over the truth."""

    seconds: float
    passes: float
    averaged: int = 0
    residuals: tuple[float, ...] = ()
    estimate: float = math.nan


@dataclass(frozen=True)
class Work:
    """What was measured at one K. naive: seconds of one iteration of one latent, by round. runs: of the presets, of
    mean shift and of the zero latent."""

    costs: dict[str, float]
    naive: list[float]
    runs: dict[str, list[Run]]


class FirstEstimate:
    """Listens to the progress of a run, and keeps the seconds it was to take when it could first tell."""

    def __init__(self) -> None:
        self.started, self.seconds = time.monotonic(), math.nan

    def __call__(self, event: Progress) -> None:
        if event.seconds_left is not None and math.isnan(self.seconds):
            self.seconds = time.monotonic() - self.started + event.seconds_left


def measure_work(subject: Subject, concepts: list[str], count: int, rounds: int, batch: int = BATCH,
                 naive_rows: int = 0) -> Work:
    """Time and passes of the naive recipe, of the presets and of mean shift at K `count`, in turns in one run.

    The naive recipe runs SHARE of its iterations, dealt out to concepts and rounds, on `naive_rows` latents (0: on all
    K).
    """
    iterations = math.ceil(SHARE * NAIVE.aligned_steps * NAIVE.solver.iterations / rounds / len(concepts))
    rows, found = naive_rows or count, Work({}, [], {name: [] for name in (*PAIRS, SHIFTED, ZERO)})
    measured = []

    def run(denoiser, sigmas):
        costs = measure_costs(denoiser, subject.shape, sigmas[0].item(), 5, batch)
        measured.append(costs)
        for number in range(rounds):
            few = dataclasses.replace(NAIVE, count=rows, seed=number, aligned_steps=1,
                                      solver=dataclasses.replace(NAIVE.solver, iterations=iterations))
            with whole_forwards():
                # Steps cut down to one aligned step and its mean: what is left out is added from measured costs.
                seconds, _ = timed(align, denoiser, sigmas[[0, -1]], subject.shape, few,
                                   batch=BatchSize(batch))
            found.naive.append(seconds / rows / (iterations + 2))
            for name in PAIRS:
                counted, guess = Counted(denoiser), FirstEstimate()
                settings = preset_settings(name, count, number)
                monitor = Monitor(guess, settings, sigmas, denoiser=counted)
                seconds, result = timed(align, counted, sigmas, subject.shape, settings, batch=BatchSize(batch),
                                        watchers=[monitor])
                steps = result.report.steps
                found.runs[name].append(Run(seconds, counted.equivalents(costs), steps[0].mean_count,
                                            tuple(float(np.mean(step.residual_after)) for step in steps),
                                            guess.seconds / seconds))
            counted = Counted(denoiser)
            seconds, shifted = timed(shifted_average, counted, sigmas, subject.shape, GUIDANCE, number, count=count)
            found.runs[SHIFTED].append(Run(seconds, counted.equivalents(costs), shifted.report.levels[0].count))
            seconds, _ = timed(zero_latent_sample, denoiser, sigmas, subject.shape)
            found.runs[ZERO].append(Run(seconds, 2 * STEPS * costs["whole"]))

    for concept in concepts:
        subject.with_denoiser(concept, GUIDANCE, run)
    found.costs.update({name: float(np.mean([costs[name] for costs in measured])) for name in measured[0]})
    return found


def naive_work(count: int, seconds_per_iteration: float, costs: dict[str, float]) -> tuple[float, float]:
    """Seconds and encoder-pass equivalents of a complete naive run that returns one picture."""
    prediction = 2 * costs["whole"] * costs["forward_seconds"]
    # Predictions; in the last step one is kept.
    rows = (NAIVE.aligned_steps - 1) * count + 1 + STEPS - NAIVE.aligned_steps
    iterations = NAIVE.aligned_steps * count * NAIVE.solver.iterations
    means = NAIVE.aligned_steps * count * 2  # the mean, and the last look at the residual
    seconds = (iterations + means) * seconds_per_iteration + rows * prediction
    passes = iterations * (costs["whole"] + costs["backward"]) + means * costs["whole"] + rows * 2 * costs["whole"]
    return seconds, passes


def early_exit_work(count: int, costs: dict[str, float]) -> tuple[float, float]:
    """The same of a naive run whose forward passes end at the layer, but for predictions: from measured costs."""
    rows = (NAIVE.aligned_steps - 1) * count + 1 + STEPS - NAIVE.aligned_steps
    matched = NAIVE.aligned_steps * count
    passes = (matched * NAIVE.solver.iterations * (1 + costs["backward"]) + matched * 2 + rows * 2 * costs["whole"])
    return passes * costs["forward_seconds"], passes


def work_table(found: dict[int, Work], concepts: list[str]) -> dict[str, float]:
    """Print every recipe at every K, and give the figures of the largest K."""
    largest = max(found)
    costs, figures = found[largest].costs, {}
    print(f"\n{', '.join(concepts)}; {torch.get_num_threads()} threads. One truncated forward: "
          f"{1000 * costs['forward_seconds']:.2f} ms a latent; its backward {costs['backward']:.2f}, a whole forward "
          f"{costs['whole']:.2f} of that\n")
    rows, estimates = [], []
    for count, work in found.items():
        floor = NAIVE.aligned_steps * count + 2 * STEPS * work.costs["whole"]
        seconds, passes = naive_work(count, float(np.mean(work.naive)), work.costs)
        complete = ([run.residual_after for concept in concepts for run in naive_runs(concept, 10)]
                    if count == NAIVE_COUNT else [])
        rows.append([f"naive, K {count}", f"{count}", f"{passes:.0f}", "1", f"{passes / floor:.1f}",
                     f"{seconds:.0f} (extrapolated)", "1",
                     listed(np.mean(complete, axis=0)) if complete else "not run to the end"])
        ending, short = early_exit_work(count, work.costs)
        rows.append([f"naive, passes end at the layer, K {count}", f"{count}", f"{short:.0f}", f"{passes / short:.1f}",
                     f"{short / floor:.1f}", f"{ending:.0f} (from its passes)", f"{seconds / ending:.1f}",
                     "the same"])
        for name, runs in work.runs.items():
            taken, needed, averaged = (float(np.mean([getattr(run, field) for run in runs]))
                                       for field in ("seconds", "passes", "averaged"))
            residuals = listed(np.mean([run.residuals for run in runs], axis=0)) or "none"
            rows.append([f"{name}, K {count}", f"{averaged:.0f}", f"{needed:.0f}", f"{passes / needed:.0f}",
                         f"{needed / floor:.2f}", f"{taken:.2f}", f"{seconds / taken:.0f}", residuals])
            if name in PAIRS:
                errors = [100 * (run.estimate - 1) for run in runs]
                estimates.append([f"{name}, K {count}", f"{min(errors):+.0f} % to {max(errors):+.0f} %",
                                  f"{np.mean(np.abs(errors)):.0f} %"])
            if name == SHIFTED:
                sample = float(np.mean([run.passes for run in work.runs[ZERO]]))
                # The floor: a prediction for each noise and level, and one for each other step of the picture.
                least = 2 * work.costs["whole"] * (MeanShiftSettings.averaged_steps * (count - 1) + STEPS)
                figures |= {f"mean_shift_over_a_sample_{count}": needed / sample,
                            f"mean_shift_over_its_floor_{count}": needed / least}
                print(f"mean shift, K {count}: {needed / sample:.1f} ordinary samples, {needed / least:.3f} of a "
                      "prediction for each noise of a level and each other step")
            if count == largest and name in (*PAIRS, SHIFTED):
                suffix = "" if name == "standard" else f"_{name.replace(' ', '_')}"
                figures |= {f"passes_ratio{suffix}": passes / needed, f"wall_ratio{suffix}": seconds / taken,
                            f"passes_ratio_early_exit{suffix}": short / needed,
                            f"wall_ratio_early_exit{suffix}": ending / taken}
    print_table(["recipe", "latents averaged", "encoder-pass equivalents", "naive over this", "of the floor", "seconds",
                 "naive over this", "residual after each aligned step"], rows)
    print("\nthe run's time as it was told after the first aligned step, against the truth\n")
    print_table(["recipe", "error", "mean size of the error"], estimates)
    return figures | {"backward_cost": costs["backward"], "whole_cost": costs["whole"]}


def listed(residuals) -> str:
    return ", ".join(f"{value:.4f}" for value in residuals)
