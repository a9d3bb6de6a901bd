"""How much cheaper the presets are than the published recipe, and what that costs in the picture.

The naive recipe: the whole U-Net forward, Adam at 2e-2 for 300 iterations from fresh state at each of 10 steps, all K
latents, fp32, no early stop, no compilation. Its cost per iteration is constant, so its time is extrapolated from 2 %
of its iterations, run in turns with the presets. Its pictures come from complete runs at K 32 (--naive-pictures), which
may use the truncated forward: the features are the same numbers.

Costs are in encoder-pass equivalents: one forward pass of one latent up to the semantic layer is 1; its backward pass
and the whole forward pass count by their times in the same run. The floor of the method without shortcuts: the mean
over K costs K truncated forwards per aligned step, and sampling 2 S whole forwards for each picture returned. A preset
that takes the large mean only once, at the first step, may come out below it.
"""
from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import _full_size
import _speed_levers
from _common import (STEPS, DemoModel, FeatureSpace, pairwise_distance, parse_arguments, print_table, save_sheet, sharpness,
                     with_interval, write_figures)
from _passes import BATCH, GUIDANCE, Counted, measure_costs, timed, whole_forwards
from mental_averages.dma import runs
from mental_averages.dma.alignment import AlignmentSettings, align, starting_noise
from mental_averages.dma.batching import BatchSize
from mental_averages.dma.diffusion import initial_latent
from mental_averages.dma.matching import Adam
from mental_averages.dma.presets import PRESETS
from mental_averages.dma.sampling import sample

CONCEPTS = ["red heart", "cat face", "woman", "red apple"]
PICTURE_COUNT = 32  # K of the naive recipe's complete runs
NAIVE = AlignmentSettings(aligned_steps=10, keep=1, solver=Adam(learning_rate=2e-2, iterations=300, tolerance=0.0))
NAIVE_PICTURES = Path(__file__).parent / "naive_pictures"
SHARE = 0.02  # of the naive recipe's iterations, measured
ROUNDS = 3
PAIRS = ("standard", "draft")


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
                    seconds, result = timed(align, counted, sigmas, demo.shape, settings, BATCH)
                    rounds[name].append((seconds, counted.equivalents(costs), [np.mean(step.residual_after) for step in result.report.steps]))
                seconds, _ = timed(sample, denoiser, torch.zeros(1, *demo.shape), sigmas, BatchSize(1))
                rounds["zero"].append((seconds, 2 * STEPS * costs["whole"], []))
            found[count] = rounds
        return found

    return demo.with_denoiser(concept, GUIDANCE, run)


def naive_work(count: int, seconds_per_iteration: float, costs: dict[str, float]) -> tuple[float, float]:
    """Seconds and encoder-pass equivalents of a complete naive run that returns one picture."""
    prediction = 2 * costs["whole"] * costs["forward_seconds"]
    rows = (NAIVE.aligned_steps - 1) * count + 1 + STEPS - NAIVE.aligned_steps  # predictions; in the last step one is kept
    iterations = NAIVE.aligned_steps * count * NAIVE.solver.iterations
    means = NAIVE.aligned_steps * count * 2  # the mean, and the last look at the residual
    seconds = (iterations + means) * seconds_per_iteration + rows * prediction
    passes = iterations * (costs["whole"] + costs["backward"]) + means * costs["whole"] + rows * 2 * costs["whole"]
    return seconds, passes


def work_table(found: dict, counts: list[int], figures: dict) -> None:
    costs = found["costs"]
    print(f"\none truncated forward: {1000 * costs['forward_seconds']:.2f} ms a latent; its backward {costs['backward']:.2f}, "
          f"a whole forward {costs['whole']:.2f} of that\n")
    rows = []
    for count in counts:
        floor = NAIVE.aligned_steps * count + 2 * STEPS * costs["whole"]
        seconds, passes = naive_work(count, float(np.mean(found[count]["naive"])), costs)
        rows.append([f"naive, K {count}", f"{passes:.0f}", "1", f"{passes / floor:.1f}", f"{seconds:.0f} (extrapolated)", "1", "in its complete runs"])
        for name in (*PAIRS, "zero"):
            taken, needed = (float(np.mean([entry[index] for entry in found[count][name]])) for index in (0, 1))
            residuals = np.mean([entry[2] for entry in found[count][name]], axis=0)
            rows.append([f"{'zero-latent sample' if name == 'zero' else name}, K {count}", f"{needed:.0f}",
                         f"{passes / needed:.0f}", f"{needed / floor:.2f}", f"{taken:.2f}", f"{seconds / taken:.0f}", ", ".join(f"{value:.4f}" for value in residuals) or "none"])
            suffix = "" if name == "standard" else f"_{name}"
            if count == counts[-1] and name != "zero":
                figures |= {f"passes_ratio{suffix}": passes / needed, f"wall_ratio{suffix}": seconds / taken}
    print_table(["recipe", "encoder-pass equivalents", "naive over this", "of the floor", "seconds", "naive over this",
                 "residual after each aligned step"], rows)
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


def make_naive_pictures(demo: DemoModel, concepts: list[str], repetitions: int, folder: Path) -> None:
    """Complete naive runs at K 32, each kept as soon as it is finished: final latents as JSON, by concept and seed.

    A run that was stopped goes on when the command is given again.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def average(denoiser, sigmas, settings, key):
        question = starting_noise(1, demo.shape, 0) * sigmas[0]
        with torch.no_grad():
            answer = denoiser.features(question.to(denoiser.device), sigmas[0].item()).flatten().cpu()
        state = runs.RunState(folder / "unfinished", key, answer)
        result = align(denoiser, sigmas, demo.shape, settings, BATCH, state)
        return result, state

    for seed in range(repetitions):
        for concept in concepts:
            path = naive_picture(folder, concept, seed)
            if path.exists():
                continue
            settings = dataclasses.replace(NAIVE, count=PICTURE_COUNT, seed=seed)
            result, state = demo.with_denoiser(
                concept, GUIDANCE, lambda denoiser, sigmas: average(denoiser, sigmas, settings, path.stem))
            residuals = [round(float(np.mean(step.residual_after)), 6) for step in result.report.steps]
            latent = [round(value, 5) for value in result.latents.flatten().tolist()]
            path.write_text(json.dumps({"concept": concept, "seed": seed, "count": PICTURE_COUNT, "guidance": GUIDANCE,
                                        "residual_after": residuals, "seconds": round(result.report.seconds),
                                        "latent": latent}) + "\n")
            state.remove()
            print(f"naive {concept}, seed {seed}: {result.report.seconds:.0f} s, residuals {residuals}", flush=True)


def naive_picture(folder: Path, concept: str, seed: int) -> Path:
    return folder / f"{concept.replace(' ', '_')}_{seed}.json"


def measure_pictures(demo: DemoModel, concepts: list[str], repetitions: int, folder: Path, large: bool, figures: dict,
                     sheet: Path | None) -> None:
    """What the user sees: agreement of repetitions, distance to plain samples, sharpness, and distance to the naive pictures.

    The naive recipe is compared on the concepts that have naive pictures of two or more seeds.
    """
    judge, names = FeatureSpace(), ["plain sample", "zero latent", *(f"{name}, K {PICTURE_COUNT}" for name in PAIRS)]
    if large:
        names += [f"{name}, K 256" for name in PAIRS]
    naive = {concept: [json.loads(path.read_text()) for seed in range(repetitions)
                       if (path := naive_picture(folder, concept, seed)).exists()] for concept in concepts}
    compared = [concept for concept in concepts if len(naive[concept]) >= 2]
    recipes = [*names, "naive"] if compared else names
    keys = ("consistency", "representativeness", "sharpness", "to_naive")
    measures: dict[str, dict[str, dict[str, float]]] = {name: {key: {} for key in keys} for name in recipes}  # values by concept
    shown = []
    for concept in concepts:
        def run(denoiser, sigmas):
            def average(name, count, seed):
                settings = PRESETS[name].apply(AlignmentSettings(count=count, keep=1, seed=seed), STEPS)
                return align(denoiser, sigmas, demo.shape, settings, BATCH).latents

            noise = initial_latent(denoiser.parametrization, starting_noise(3 * repetitions, demo.shape, 1000), sigmas[0].item())
            found = {"plain sample": sample(denoiser, noise, sigmas, BatchSize(BATCH)),
                     "zero latent": sample(denoiser, torch.zeros(1, *demo.shape), sigmas, BatchSize(1)).expand(repetitions, -1, -1, -1)}
            for name in names[2:]:
                preset, count = name.split(", K ")
                found[name] = torch.cat([average(preset, int(count), seed) for seed in range(repetitions)])
            return found

        latents = demo.with_denoiser(concept, GUIDANCE, run)
        if concept in compared:
            latents["naive"] = torch.tensor([entry["latent"] for entry in naive[concept]]).view(-1, *demo.shape)
        pictures = {name: demo.decode(found) for name, found in latents.items()}
        features = {name: judge(found) for name, found in pictures.items()}
        sharp = sharpness(pictures["plain sample"]).mean()
        for name in latents:
            measured = measures[name]
            measured["consistency"][concept] = pairwise_distance(features[name])
            measured["representativeness"][concept] = float(1 - (features[name] @ features["plain sample"].T).mean())
            measured["sharpness"][concept] = float(sharpness(pictures[name]).mean() / sharp)
            if concept in compared:
                # The same seed stands for the same ensemble, except for plain samples.
                same = min(len(features[name]), len(features["naive"]))
                measured["to_naive"][concept] = float(1 - (features[name][:same] * features["naive"][:same]).sum(1).mean())
        shown.append(torch.cat([pictures[name][: 1 if name == "zero latent" else 2] for name in latents]))
        print(f"{concept}: " + ", ".join(f"{name} {measures[name]['consistency'][concept]:.3f}" for name in latents), flush=True)
    print(f"\n{len(concepts)} concepts, {repetitions} repetitions, guidance {GUIDANCE}\n")
    print_table(["recipe", "consistency distance", "representativeness distance", "sharpness", "distance to naive of the same seed"],
                [[f"naive ({', '.join(compared)})" if name == "naive" else name,
                  *(with_interval(np.array(list(measures[name][key].values()))) for key in keys[:3]),
                  with_interval(np.array(list(measures[name]["to_naive"].values()))) if compared else "missing"] for name in recipes])
    if compared:
        standard, apart = measures[f"standard, K {PICTURE_COUNT}"], measures["naive"]["consistency"]
        figures |= {"consistency_ratio": sum(standard["consistency"][concept] for concept in compared) / sum(apart.values()),
                    "picture_distance_ratio": sum(standard["to_naive"].values()) / sum(apart.values())}
        print(f"\nnaive averages of different seeds are {np.mean(list(apart.values())):.3f} apart, over "
              + ", ".join(f"{len(naive[concept])} seeds of {concept}" for concept in compared))
    else:
        print("\nconsistency_ratio and picture_distance_ratio are missing: make the naive recipe's pictures with --naive-pictures FOLDER")
    if sheet:
        save_sheet(shown, concepts, ", ".join(names), sheet)


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], concepts=dict(type=int, help="how many concepts"), repetitions=dict(type=int),
        naive_pictures=dict(type=Path, help="make the missing complete naive runs at K 32 here, and stop"),
        solvers=dict(action="store_true", help="residual against passes for each solver, and stop"),
        warm_starts=dict(action="store_true", help="where matching starts from, and stop"),
        carried=dict(action="store_true", help="few carried latents against all of them, and stop"),
        formats=dict(action="store_true", help="memory layout and precision, and stop"),
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
    work_table(measure_work(demo, concepts[0], counts, arguments.quick), counts, figures)
    figures["memory_ratio"] = memory_ratio()
    measure_pictures(demo, concepts, repetitions, NAIVE_PICTURES, not arguments.quick, figures, arguments.sheet)
    _full_size.measure()
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
