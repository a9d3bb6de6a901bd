"""How much cheaper the presets are than the published recipe, and what that costs in the picture.

The naive recipe: the whole U-Net forward, Adam at 2e-2 for 300 iterations from fresh state at each of 10 steps, all K
latents, fp32, no early stop, no compilation. Its cost per iteration is constant, so its time is extrapolated from 2 %
of its iterations, run in turns with the presets. Its pictures come from complete runs at K 32 (--naive-pictures).

Costs are in encoder-pass equivalents: one forward pass of one latent up to the semantic layer is 1; its backward pass
and the whole forward pass count by their times in the same run. The floor of the method without shortcuts: the mean
over K costs K truncated forwards per aligned step, and sampling 2 S whole forwards for each picture returned. A preset
that takes the large mean only once, at the first step, may come out below it.
"""
from __future__ import annotations

import dataclasses
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

import _full_size
import _speed_levers
from _common import STEPS, DemoModel, parse_arguments, print_table, write_figures
from _passes import BATCH, GUIDANCE, Counted, measure_costs, timed, whole_forwards
from _speed_pictures import NAIVE, PAIRS, PICTURE_COUNT, make_naive_pictures, measure_pictures, naive_runs
from mental_averages.dma.alignment import AlignmentSettings, Progress, align
from mental_averages.dma.batching import BatchSize
from mental_averages.dma.presets import PRESETS
from mental_averages.dma.sampling import sample

CONCEPTS = ["red heart", "cat face", "woman", "red apple"]
SHARE = 0.02  # of the naive recipe's iterations, measured
ROUNDS = 3


def measure_work(demo: DemoModel, concept: str, counts: list[int], quick: bool) -> dict:
    """Time and passes of the naive recipe and of the presets, in turns in one run."""
    def run(denoiser, sigmas):
        costs = measure_costs(denoiser, sigmas[0].item(), 2 if quick else 5)
        found = {"costs": costs}
        iterations = round(SHARE * NAIVE.aligned_steps * NAIVE.solver.iterations / ROUNDS)
        for count in counts:
            # A quick run measures its 2 % of iterations on the first 32 latents only; all latents cost the same.
            rows = min(count, BATCH) if quick else count
            rounds = {"naive": [], **{name: [] for name in PAIRS}, "zero": []}
            for number in range(ROUNDS):
                few = dataclasses.replace(NAIVE, count=rows, seed=number, aligned_steps=1,
                                          solver=dataclasses.replace(NAIVE.solver, iterations=iterations))
                with whole_forwards():
                    # Steps cut down to one aligned step and its mean: what is left out is added from measured costs.
                    seconds, _ = timed(align, denoiser, sigmas[[0, -1]], demo.shape, few, BATCH)
                rounds["naive"].append(seconds / rows / (iterations + 2))
                for name in PAIRS:
                    counted = Counted(denoiser)
                    settings = PRESETS[name].apply(AlignmentSettings(count=count, keep=1, seed=number), STEPS)
                    guess = FirstEstimate()
                    seconds, result = timed(align, counted, sigmas, demo.shape, settings, BATCH, None, guess)
                    residuals = [np.mean(step.residual_after) for step in result.report.steps]
                    rounds[name].append((seconds, counted.equivalents(costs), residuals, guess.seconds / seconds - 1))
                seconds, _ = timed(sample, denoiser, torch.zeros(1, *demo.shape), sigmas, BatchSize(1))
                rounds["zero"].append((seconds, 2 * STEPS * costs["whole"], []))
            found[count] = rounds
        return found

    return demo.with_denoiser(concept, GUIDANCE, run)


class FirstEstimate:
    """Listens to the progress of a run, and keeps the seconds it was to take when it could first tell."""

    def __init__(self) -> None:
        self.started, self.seconds = time.monotonic(), math.nan

    def __call__(self, event: Progress) -> None:
        if event.seconds_left is not None and math.isnan(self.seconds):
            self.seconds = time.monotonic() - self.started + event.seconds_left


def naive_work(count: int, seconds_per_iteration: float, costs: dict[str, float]) -> tuple[float, float]:
    """Seconds and encoder-pass equivalents of a complete naive run that returns one picture."""
    prediction = 2 * costs["whole"] * costs["forward_seconds"]
    rows = (NAIVE.aligned_steps - 1) * count + 1 + STEPS - NAIVE.aligned_steps  # predictions; in the last step one is kept
    iterations = NAIVE.aligned_steps * count * NAIVE.solver.iterations
    means = NAIVE.aligned_steps * count * 2  # the mean, and the last look at the residual
    seconds = (iterations + means) * seconds_per_iteration + rows * prediction
    passes = iterations * (costs["whole"] + costs["backward"]) + means * costs["whole"] + rows * 2 * costs["whole"]
    return seconds, passes


def listed(residuals) -> str:
    return ", ".join(f"{value:.4f}" for value in residuals)


def work_table(found: dict, concept: str, counts: list[int], figures: dict) -> None:
    costs = found["costs"]
    print(f"\none truncated forward: {1000 * costs['forward_seconds']:.2f} ms a latent; its backward {costs['backward']:.2f}, "
          f"a whole forward {costs['whole']:.2f} of that\n")
    rows = []
    for count in counts:
        floor = NAIVE.aligned_steps * count + 2 * STEPS * costs["whole"]
        seconds, passes = naive_work(count, float(np.mean(found[count]["naive"])), costs)
        complete = [entry["residual_after"] for entry in naive_runs(concept, 10)] if count == PICTURE_COUNT else []
        rows.append([f"naive, K {count}", f"{passes:.0f}", "1", f"{passes / floor:.1f}", f"{seconds:.0f} (extrapolated)", "1",
                     listed(np.mean(complete, axis=0)) if complete else "not run to the end"])
        for name in (*PAIRS, "zero"):
            taken, needed = (float(np.mean([entry[index] for entry in found[count][name]])) for index in (0, 1))
            residuals = np.mean([entry[2] for entry in found[count][name]], axis=0)
            rows.append([f"{'zero-latent sample' if name == 'zero' else name}, K {count}", f"{needed:.0f}",
                         f"{passes / needed:.0f}", f"{needed / floor:.2f}", f"{taken:.2f}", f"{seconds / taken:.0f}", listed(residuals) or "none"])
            suffix = "" if name == "standard" else f"_{name}"
            if count == counts[-1] and name != "zero":
                figures |= {f"passes_ratio{suffix}": passes / needed, f"wall_ratio{suffix}": seconds / taken}
    estimates = [f"{name}, K {count}: " + ", ".join(f"{entry[3]:+.0%}" for entry in found[count][name]) for count in counts for name in PAIRS]
    print_table(["recipe", "encoder-pass equivalents", "naive over this", "of the floor", "seconds", "naive over this",
                 "residual after each aligned step"], rows)
    print(f"\nwhole time as it was estimated after the first aligned step, against the truth: {'; '.join(estimates)}")
    figures |= {"backward_cost": costs["backward"], "whole_cost": costs["whole"]}


def memory_of(count: int) -> None:
    """In a process of its own: one standard average, then the process's peak in MiB as the last line."""
    demo = DemoModel()
    settings = PRESETS["standard"].apply(AlignmentSettings(count=count, keep=1), STEPS)
    demo.with_denoiser(CONCEPTS[0], GUIDANCE, lambda denoiser, sigmas: align(denoiser, sigmas, demo.shape, settings, BATCH))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory_ratio() -> float:
    peaks = [float(subprocess.run([sys.executable, __file__, "--memory-of", str(count)], check=True, capture_output=True,
                                  text=True).stdout.split()[-1]) for count in (32, 1000)]
    print(f"\npeak memory of the whole process: {peaks[0]:.0f} MiB at K 32, {peaks[1]:.0f} MiB at K 1000")
    return peaks[1] / peaks[0]


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], concepts=dict(type=int, help="how many concepts"), repetitions=dict(type=int),
        naive_pictures=dict(type=Path, help="make the missing complete naive runs at K 32 here, and stop"),
        solvers=dict(action="store_true", help="residual against passes for each solver, and stop"),
        warm_starts=dict(action="store_true", help="where matching starts from, and stop"),
        carried=dict(action="store_true", help="few carried latents against all of them, and stop"),
        formats=dict(action="store_true", help="memory layout, precision and compilation, and stop"),
        count=dict(type=int, default=32, help="K of --solvers, --warm-starts and --carried"),
        sheet=dict(type=Path, help="write a sheet of all recipes"), memory_of=dict(type=int, help="used by the memory measurement"))
    if arguments.memory_of:
        return memory_of(arguments.memory_of)
    concepts = CONCEPTS[: arguments.concepts or (1 if arguments.quick else len(CONCEPTS))]
    repetitions, counts = arguments.repetitions or (3 if arguments.quick else 10), [256] if arguments.quick else [32, 256]
    demo = DemoModel()
    if arguments.naive_pictures:
        return make_naive_pictures(demo, concepts, repetitions, arguments.naive_pictures)
    if arguments.solvers:
        return _speed_levers.solver_table(demo, concepts, arguments.count)
    if arguments.warm_starts:
        return _speed_levers.warm_start_table(demo, concepts, arguments.count)
    if arguments.carried:
        return _speed_levers.carried_table(demo, concepts, repetitions, arguments.count)
    if arguments.formats:
        return _speed_levers.format_table(demo, concepts[0])
    figures: dict[str, float] = {}
    work_table(measure_work(demo, concepts[0], counts, arguments.quick), concepts[0], counts, figures)
    figures["memory_ratio"] = memory_ratio()
    measure_pictures(demo, concepts, repetitions, not arguments.quick, figures, arguments.sheet)
    _full_size.measure()
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
