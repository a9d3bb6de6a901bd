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

import contextlib
import dataclasses
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

import _full_size
from _common import (STEPS, DemoModel, FeatureSpace, pairwise_distance, parse_arguments, print_table, save_sheet, sharpness,
                     with_interval, write_figures)
from mental_averages.dma import early_exit
from mental_averages.dma.alignment import AlignmentSettings, align, starting_noise
from mental_averages.dma.batching import BatchSize
from mental_averages.dma.diffusion import deterministic_step, initial_latent, paper_scale
from mental_averages.dma.matching import Adam
from mental_averages.dma.newton import LBFGS, GaussNewton
from mental_averages.dma.presets import PRESETS
from mental_averages.dma.sampling import sample

CONCEPTS = ["red heart", "cat face", "woman", "red apple"]
GUIDANCE, PICTURE_COUNT, BATCH = 7.0, 32, 32
NAIVE = AlignmentSettings(aligned_steps=10, keep=1, solver=Adam(learning_rate=2e-2, iterations=300, tolerance=0.0))
NAIVE_PICTURES = Path(__file__).parent / "naive_pictures"
SHARE = 0.02  # of the naive recipe's iterations, measured
ROUNDS = 3
PAIRS = ("standard", "draft")


@contextlib.contextmanager
def whole_forwards():
    """Let every forward pass run to its end, as a plain hook on the layer would."""
    def output_of(layer, forward):
        found = []
        hook = layer.register_forward_hook(lambda module, inputs, output: found.append(output[0] if isinstance(output, tuple) else output))
        try:
            forward()
        finally:
            hook.remove()
        return found[0] if found else None

    truncated = early_exit.output_of
    users = [module for name, module in sys.modules.items() if name.startswith("mental_averages.") and hasattr(module, "output_of")]
    for module in users:
        module.output_of = output_of
    try:
        yield
    finally:
        for module in users:
            module.output_of = truncated


class Counted:
    """A Denoiser that counts rows: features, gradients through them, and guided predictions."""

    def __init__(self, denoiser):
        self.inner, self.parametrization, self.device = denoiser, denoiser.parametrization, denoiser.device
        self.features_run = self.gradients_run = self.predictions_run = 0

    def features(self, x, sigma):
        found = self.inner.features(x, sigma)
        self.features_run += len(x)
        if found.requires_grad:
            found.register_hook(self._count)
        return found

    def _count(self, gradient):
        self.gradients_run += len(gradient)

    def denoise(self, x, sigma):
        self.predictions_run += len(x)
        return self.inner.denoise(x, sigma)

    def equivalents(self, costs) -> float:
        return self.features_run + costs["backward"] * self.gradients_run + 2 * costs["whole"] * self.predictions_run


def timed(function, *arguments):
    started = time.monotonic()
    result = function(*arguments)
    return time.monotonic() - started, result


def measure_costs(denoiser, sigma: float, repeats: int) -> dict[str, float]:
    """Seconds of one row's truncated forward; its backward and a whole forward in units of that. In turns, medians."""
    x = starting_noise(BATCH, (4, 8, 8), 0) * sigma
    seconds = {"forward": [], "both": [], "prediction": []}

    def both():
        leaf = x.clone().requires_grad_()
        with torch.enable_grad():
            torch.autograd.grad(denoiser.features(leaf, sigma).square().sum(), leaf)

    for _ in range(repeats + 1):
        for name, function in (("forward", lambda: denoiser.features(x, sigma)), ("both", both), ("prediction", lambda: denoiser.denoise(x, sigma))):
            seconds[name].append(timed(function)[0] / BATCH)
    forward, both_ways, prediction = (float(np.median(seconds[name][1:])) for name in seconds)
    return {"forward_seconds": forward, "backward": both_ways / forward - 1, "whole": prediction / 2 / forward}


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
                few = dataclasses.replace(NAIVE, count=rows, seed=number, aligned_steps=1, solver=dataclasses.replace(NAIVE.solver, iterations=iterations))
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
            rows.append([f"{'zero-latent sample' if name == 'zero' else name}, K {count}", f"{needed:.0f}", f"{passes / needed:.0f}", f"{needed / floor:.2f}",
                         f"{taken:.2f}", f"{seconds / taken:.0f}", ", ".join(f"{value:.4f}" for value in residuals) or "none"])
            suffix = "" if name == "standard" else f"_{name}"
            if count == counts[-1] and name != "zero":
                figures |= {f"passes_ratio{suffix}": passes / needed, f"wall_ratio{suffix}": seconds / taken}
    print_table(["recipe", "encoder-pass equivalents", "naive over this", "of the floor", "seconds", "naive over this", "residual after each aligned step"], rows)
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
    """Complete naive runs at K 32, each kept as soon as it is finished: final latents as JSON, by concept and seed."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(repetitions):
        for concept in concepts:
            path = naive_picture(folder, concept, seed)
            if path.exists():
                continue
            settings = dataclasses.replace(NAIVE, count=PICTURE_COUNT, seed=seed)
            seconds, result = timed(demo.with_denoiser, concept, GUIDANCE,
                                    lambda denoiser, sigmas: align(denoiser, sigmas, demo.shape, settings, BATCH))
            residuals = [round(float(np.mean(step.residual_after)), 6) for step in result.report.steps]
            latent = [round(value, 5) for value in result.latents.flatten().tolist()]
            path.write_text(json.dumps({"concept": concept, "seed": seed, "count": PICTURE_COUNT, "guidance": GUIDANCE,
                                        "residual_after": residuals, "seconds": round(seconds), "latent": latent}) + "\n")
            print(f"naive {concept}, seed {seed}: {seconds:.0f} s, residuals {residuals}", flush=True)


def naive_picture(folder: Path, concept: str, seed: int) -> Path:
    return folder / f"{concept.replace(' ', '_')}_{seed}.json"


def measure_pictures(demo: DemoModel, concepts: list[str], repetitions: int, folder: Path, large: bool, figures: dict, sheet: Path | None) -> None:
    """What the user sees: agreement of repetitions, distance to plain samples, sharpness, and distance to the naive pictures."""
    judge, names = FeatureSpace(), ["plain sample", "zero latent", *(f"{name}, K {PICTURE_COUNT}" for name in PAIRS)]
    if large:
        names += [f"{name}, K 256" for name in PAIRS]
    naive = {concept: [json.loads(path.read_text()) for seed in range(repetitions) if (path := naive_picture(folder, concept, seed)).exists()]
             for concept in concepts}
    complete = all(len(naive[concept]) >= 2 for concept in concepts)
    names += ["naive"] if complete else []
    measures: dict[str, dict[str, list[float]]] = {name: {key: [] for key in ("consistency", "representativeness", "sharpness", "to_naive")} for name in names}
    apart, shown = [], []
    for concept in concepts:
        def run(denoiser, sigmas):
            def average(name, count, seed):
                settings = PRESETS[name].apply(AlignmentSettings(count=count, keep=1, seed=seed), STEPS)
                return align(denoiser, sigmas, demo.shape, settings, BATCH).latents

            noise = initial_latent(denoiser.parametrization, starting_noise(3 * repetitions, demo.shape, 1000), sigmas[0].item())
            found = {"plain sample": sample(denoiser, noise, sigmas, BatchSize(BATCH)),
                     "zero latent": sample(denoiser, torch.zeros(1, *demo.shape), sigmas, BatchSize(1)).expand(repetitions, -1, -1, -1)}
            for name in names[2:]:
                if name != "naive":
                    preset, count = name.split(", K ")
                    found[name] = torch.cat([average(preset, int(count), seed) for seed in range(repetitions)])
            return found

        latents = demo.with_denoiser(concept, GUIDANCE, run)
        if complete:
            latents["naive"] = torch.tensor([entry["latent"] for entry in naive[concept]]).view(-1, *demo.shape)
        pictures = {name: demo.decode(latents[name]) for name in names}
        features = {name: judge(pictures[name]) for name in names}
        sharp = sharpness(pictures["plain sample"]).mean()
        if complete:
            apart.append(pairwise_distance(features["naive"]))
        for name in names:
            measured = measures[name]
            measured["consistency"].append(pairwise_distance(features[name]))
            measured["representativeness"].append(float(1 - (features[name] @ features["plain sample"].T).mean()))
            measured["sharpness"].append(float(sharpness(pictures[name]).mean() / sharp))
            if complete:
                # The same seed stands for the same ensemble, except for plain samples.
                same = min(len(features[name]), len(features["naive"]))
                measured["to_naive"].append(float(1 - (features[name][:same] * features["naive"][:same]).sum(1).mean()))
        shown.append(torch.cat([pictures[name][: 1 if name == "zero latent" else 2] for name in names]))
        print(f"{concept}: " + ", ".join(f"{name} {measures[name]['consistency'][-1]:.3f}" for name in names), flush=True)
    print(f"\n{len(concepts)} concepts, {repetitions} repetitions, guidance {GUIDANCE}\n")
    print_table(["recipe", "consistency distance", "representativeness distance", "sharpness", "distance to the naive average of the same seed"],
                [[name, *(with_interval(np.array(measures[name][key])) for key in ("consistency", "representativeness", "sharpness")),
                  with_interval(np.array(measures[name]["to_naive"])) if complete else "missing"] for name in names])
    if complete:
        standard = measures[f"standard, K {PICTURE_COUNT}"]
        figures |= {"consistency_ratio": float(np.mean(standard["consistency"]) / np.mean(measures["naive"]["consistency"])),
                    "picture_distance_ratio": float(np.mean(standard["to_naive"]) / np.mean(apart))}
        print(f"\nnaive averages of different seeds are {np.mean(apart):.3f} apart")
    else:
        print("\nconsistency_ratio and picture_distance_ratio are missing: make the naive recipe's pictures with --naive-pictures FOLDER")
    if sheet:
        save_sheet(shown, concepts, ", ".join(names), sheet)


def solver_table(demo: DemoModel, concepts: list[str], count: int) -> None:
    """Residual against passes for each solver, at the first two aligned steps, with four latents carried."""
    solvers = [Adam(2e-2, 300), Adam(5e-2, 40), Adam(5e-2, 40, plateau=0.02), Adam(1e-1, 40), *(LBFGS(n) for n in (8, 15, 30, 60)), LBFGS(60, plateau=0.02),
               GaussNewton(2), GaussNewton(4), GaussNewton(4, inner=12), GaussNewton(8, plateau=0.02)]
    rows = []
    for solver in solvers:
        measured = []
        for concept in concepts:
            def run(denoiser, sigmas):
                costs = measure_costs(denoiser, sigmas[0].item(), 1)
                settings = AlignmentSettings(count=count, aligned_steps=2, keep=1, carried=4, solver=solver)
                seconds, result = timed(align, denoiser, sigmas[[0, 1, -1]], demo.shape, settings, BATCH)
                step, later = result.report.steps
                passes = [np.mean(each.forwards) + costs["backward"] * np.mean(each.backwards) for each in (step, later)]
                return [np.mean(step.residual_before), np.mean(step.residual_after), passes[0], np.mean(later.residual_after), passes[1], seconds]

            measured.append(demo.with_denoiser(concept, GUIDANCE, run))
        before, first, passes, second, more, seconds = np.mean(measured, axis=0)
        changed = ", ".join(f"{field.name} {getattr(solver, field.name):g}" for field in dataclasses.fields(solver)
                            if getattr(solver, field.name) != field.default or field.name == "iterations")
        rows.append([f"{type(solver).__name__} ({changed})", f"{before:.3f}", f"{first:.4f}", f"{passes:.0f}", f"{second:.5f}", f"{more:.0f}", f"{seconds:.1f}"])
        print(rows[-1], flush=True)
    print(f"\nK {count}, 4 carried, {len(concepts)} concepts; passes are encoder-pass equivalents per latent\n")
    print_table(["solver", "residual before", "after step 1", "passes", "after step 2", "passes", "seconds"], rows)


def carried_table(demo: DemoModel, concepts: list[str], repetitions: int, count: int) -> None:
    """Few latents matched and carried instead of all: how far their picture is from that of the full ensemble."""
    judge, choices = FeatureSpace(), [(0, 1.0), (8, 1.0), (4, 1.0), (1, 1.0), (8, 0.3), (4, 0.3), (1, 0.3), (1, 0.0)]
    measured: dict[tuple[int, float], list[list[float]]] = {choice: [] for choice in choices}
    for concept in concepts:
        features = {}
        for choice in choices:
            def run(denoiser, sigmas):
                counted = Counted(denoiser)
                settings = PRESETS["standard"].apply(AlignmentSettings(count=count, keep=1), STEPS)
                settings = dataclasses.replace(settings, carried=choice[0], own_noise=choice[1])
                results = [align(counted, sigmas, demo.shape, dataclasses.replace(settings, seed=seed), BATCH) for seed in range(repetitions)]
                return torch.cat([result.latents for result in results]), counted, [result.report.final_residual for result in results]

            latents, counted, residuals = demo.with_denoiser(concept, GUIDANCE, run)
            pictures = demo.decode(latents)
            features[choice] = judge(pictures)
            measured[choice].append([pairwise_distance(features[choice]), float(1 - (features[choice] * features[choices[0]]).sum(1).mean()),
                                     float(sharpness(pictures).mean()), float(np.mean(residuals)),
                                     counted.features_run / repetitions, counted.gradients_run / repetitions])
            print(concept, choice, [round(value, 4) for value in measured[choice][-1]], flush=True)
    print(f"\nK {count}, {len(concepts)} concepts, {repetitions} repetitions, otherwise the standard preset\n")
    means = {choice: np.mean(rows, axis=0) for choice, rows in measured.items()}
    print_table(["carried", "own noise", "distance between repetitions", "distance to all carried", "sharpness", "last residual", "forward passes", "backward passes"],
                [[str(carried or count), f"{own:g}", f"{row[0]:.3f}", f"{row[1]:.3f}", f"{row[2] / means[choices[0]][2]:.2f}", f"{row[3]:.5f}",
                  f"{row[4]:.0f}", f"{row[5]:.0f}"] for (carried, own), row in means.items()])


def warm_start_table(demo: DemoModel, concepts: list[str], count: int) -> None:
    """Where matching starts from: own noise, shrunken, the ensemble's mean, zero, the Gaussian picture; and Adam's state."""
    starts = {"own noise": (1, 1, 0), "0.3 of it": (0.3, 1, 0), "mean of all": (0, 1, 0), "zero": (0, 0, 0), "mean of all + mean prediction": (0, 1, 1)}
    measured, states = {name: [] for name in starts}, {"fresh": [], "carried over": []}
    solver = LBFGS(60, tolerance=1e-3, plateau=0.02)
    for concept in concepts:
        def run(denoiser, sigmas):
            sigma, following = sigmas[0].item(), sigmas[1].item()
            scale = paper_scale(denoiser.parametrization, sigma)
            z = starting_noise(count, demo.shape, 0)
            x = z / scale
            target = torch.cat([denoiser.features(part, sigma) for part in x.split(BATCH)]).mean(0)
            clean = torch.cat([denoiser.denoise(part, sigma) for part in x.split(BATCH)]).mean(0)
            for name, (own, mean, gaussian) in starts.items():
                start = mean * z.mean(0) + own * (z[:4] - z.mean(0)) + gaussian * scale * clean
                match = solver.solve(lambda z: denoiser.features(z / scale, sigma), start if own else start[:1].expand(1, *demo.shape), target)
                measured[name].append([float(value.double().mean()) for value in (match.residual_before, match.residual_after, match.iterations)])
            moved, state = adam(lambda z: denoiser.features(z / scale, sigma), z[:4], target, 40, None)
            latents = deterministic_step(moved / scale, denoiser.denoise(moved / scale, sigma), sigma, following)
            scale_next = paper_scale(denoiser.parametrization, following)
            target = denoiser.features(latents, following).mean(0)
            for name, given in (("fresh", None), ("carried over", state)):
                path = [residual(denoiser.features(adam(lambda z: denoiser.features(z / scale_next, following), latents * scale_next, target, n, given)[0] / scale_next, following), target)
                        for n in (0, 5, 15, 40)]
                states[name].append(path)

        demo.with_denoiser(concept, GUIDANCE, run)
    print(f"\nfirst match with {solver}, K {count}, {len(concepts)} concepts\n")
    print_table(["start", "residual before", "after", "iterations"],
                [[name, *(f"{value:.4f}" for value in np.mean(rows, axis=0)[:2]), f"{np.mean(rows, axis=0)[2]:.0f}"] for name, rows in measured.items()])
    print("\nAdam (0.05, 40 iterations) at the second step, state fresh or carried over from the first: residual after 0, 5, 15, 40 iterations\n")
    print_table(["state", "0", "5", "15", "40"], [[name, *(f"{value:.5f}" for value in np.mean(rows, axis=0))] for name, rows in states.items()])


def format_table(demo: DemoModel, concept: str) -> None:
    """Memory layout and precision: time of a forward and backward pass, and how far features and gradient move."""
    network = demo.model.model.diffusion_model
    rows = []

    def run(denoiser, sigmas):
        sigma = sigmas[0].item()
        x = starting_noise(BATCH, demo.shape, 0) * sigma

        def both():
            leaf = x.clone().requires_grad_()
            with torch.enable_grad():
                found = denoiser.features(leaf, sigma)
                return found.detach(), torch.autograd.grad(found.square().sum(), leaf)[0]

        def autocast():
            with torch.autocast(x.device.type, torch.bfloat16):
                return both()

        reference = both()
        for name, layout, function in (("as it is", torch.contiguous_format, both), ("channels last", torch.channels_last, both),
                                       ("bf16 autocast", torch.contiguous_format, autocast), ("as it is, again", torch.contiguous_format, both)):
            network.to(memory_format=layout)
            function()
            taken, found = min((timed(function) for _ in range(3)), key=lambda pair: pair[0])
            errors = [((new - old).norm() / old.norm()).item() for new, old in zip(found, reference)]
            rows.append([name, f"{1000 * taken / BATCH:.2f}", *(f"{error:.2g}" for error in errors)])

    demo.with_denoiser(concept, GUIDANCE, run)
    print_table(["format", "forward and backward, ms a latent", "change of the features", "change of the gradient"], rows)


def residual(found, target) -> float:
    return float((found - target).square().flatten(1).sum(1).mean() / target.square().sum())


def adam(features, start, target, iterations, state):
    """The last iterate of plain Adam at 0.05, and its state, which can be gone on from."""
    variable = torch.nn.Parameter(start.clone())
    optimiser = torch.optim.Adam([variable], lr=0.05)
    if state is not None:
        optimiser.load_state_dict(state)
    for _ in range(iterations):
        optimiser.zero_grad()
        with torch.enable_grad():
            (features(variable) - target).square().sum().backward()
        optimiser.step()
    return variable.detach(), optimiser.state_dict()


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
    repetitions, counts = arguments.repetitions or (3 if arguments.quick else 10), [32, 256]
    demo = DemoModel()
    if arguments.naive_pictures:
        return make_naive_pictures(demo, concepts, repetitions, arguments.naive_pictures)
    if arguments.solvers:
        return solver_table(demo, concepts, arguments.count)
    if arguments.warm_starts:
        return warm_start_table(demo, concepts, arguments.count)
    if arguments.carried:
        return carried_table(demo, concepts, repetitions, arguments.count)
    if arguments.formats:
        return format_table(demo, concepts[0])
    figures: dict[str, float] = {}
    work_table(measure_work(demo, concepts[0], counts, arguments.quick), counts, figures)
    figures["memory_ratio"] = memory_ratio()
    measure_pictures(demo, concepts, repetitions, NAIVE_PICTURES, not arguments.quick, figures, arguments.sheet)
    _full_size.measure()
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
