"""What the presets' pictures are worth beside those of the naive recipe, for alignment_speed.py.

The naive recipe's pictures come from complete runs at K 32, made once and kept as final latents (support/_naive_runs).
They may use the truncated forward: the features are the same numbers.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from _passes import BATCH
from support import (
    GUIDANCE,
    NAIVE_COUNT,
    DemoModel,
    FeatureSpace,
    NaiveRun,
    demo_weights,
    interval,
    naive_path,
    naive_runs,
    pairwise_distance,
    plain_samples,
    preset_settings,
    print_table,
    save_sheet,
    sharpness,
    with_interval,
)
from torch import Tensor

from mental_averages.dma import execution
from mental_averages.dma.alignment import AlignmentSettings, State, align
from mental_averages.dma.baselines import zero_latent_sample
from mental_averages.dma.diffusion import starting_noise
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.solvers import Adam

NAIVE = AlignmentSettings(aligned_steps=10, keep=1, solver=Adam(learning_rate=2e-2, iterations=300, tolerance=0.0))
PAIRS = ("standard", "draft")


@dataclasses.dataclass(frozen=True)
class Measured:
    """The repetitions of one recipe for one concept.

    features (N, D) have unit length; typical (N,) is the mean distance of each to the plain samples; sharp (N,) is
    relative to theirs; to_naive (M,) is the distance to the naive picture of the same seed, or empty; shared is the
    mean distance between the repetitions whose seeds have a naive picture.
    """

    features: Tensor
    typical: np.ndarray
    sharp: np.ndarray
    to_naive: np.ndarray
    shared: float

    @property
    def consistency(self) -> float:
        return pairwise_distance(self.features)


def make_naive_pictures(demo: DemoModel, concepts: list[str], repetitions: int, folder: Path) -> None:
    """Complete naive runs at K 32, each kept as soon as it is finished: final latents as JSON, by concept and seed.

    A run that was stopped goes on when the command is given again.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def average(denoiser, sigmas, settings, key):
        question = starting_noise(1, demo.shape, 0) * sigmas[0]
        with torch.no_grad():
            answer = denoiser.features(question.to(denoiser.device), sigmas[0].item()).flatten().cpu()
        place = execution.RunState(folder / "unfinished", key, answer)
        result = align(denoiser, sigmas, demo.shape, settings, batch=BatchSize(BATCH),
                       watchers=[execution.Checkpoint(place)], state=execution.resumed(State.unpacked, place))
        return result, place

    for seed in range(repetitions):
        for concept in concepts:
            path = naive_path(folder, concept, seed)
            if any(run.seed == seed for run in naive_runs(concept, seed + 1, folder)):
                continue
            settings = dataclasses.replace(NAIVE, count=NAIVE_COUNT, seed=seed)
            result, state = demo.with_denoiser(
                concept, GUIDANCE, lambda denoiser, sigmas: average(denoiser, sigmas, settings, path.stem))
            residuals = [round(float(np.mean(step.residual_after)), 6) for step in result.report.steps]
            NaiveRun(concept, seed, NAIVE_COUNT, GUIDANCE, residuals, result.report.seconds,
                     result.latents.flatten(), demo_weights()).save(folder)
            state.remove()
            print(f"naive {concept}, seed {seed}: {result.report.seconds:.0f} s, residuals {residuals}", flush=True)


def measure_pictures(demo: DemoModel, concepts: list[str], repetitions: int, large: bool, figures: dict,
                     sheet: Path | None) -> None:
    """Agreement of repetitions, distance to plain samples, sharpness, and distance to the naive recipe's pictures.

    The naive recipe is compared on the concepts that have naive pictures of two or more seeds.
    """
    judge = FeatureSpace()
    presets = [(name, count) for count in ((NAIVE_COUNT, 256) if large else (NAIVE_COUNT,)) for name in PAIRS]
    found: dict[str, dict[str, Measured]] = {}
    shown: dict[str, Tensor] = {}
    for concept in concepts:
        naive = naive_runs(concept, repetitions)
        latents = draw(demo, concept, presets, repetitions)
        if len(naive) >= 2:
            latents["naive"] = torch.cat([run.latents(demo.shape) for run in naive])
        pictures = {name: demo.decode(rows) for name, rows in latents.items()}
        found[concept] = measure(judge, pictures, [run.seed for run in naive])
        shown[concept] = torch.cat([rows[: 1 if name == "zero-latent sample" else 2]
                                    for name, rows in pictures.items()])
        print(f"{concept}: " + ", ".join(f"{name} {each.consistency:.3f}" for name, each in found[concept].items()),
              flush=True)
    print(f"\n{len(concepts)} concepts, {repetitions} repetitions, guidance {GUIDANCE}; intervals over concepts\n")
    table_of_presets(found)
    compared = {concept: measured for concept, measured in found.items() if "naive" in measured}
    if compared:
        print(f"\nbeside the naive recipe at K {NAIVE_COUNT}; intervals of the mean over repetitions\n")
        table_beside_naive(compared)
        figures |= ratios(compared, f"standard, K {NAIVE_COUNT}", "")
        if large:
            figures |= ratios(compared, "standard, K 256", "_256")
    else:
        print("\nconsistency_ratio and picture_distance_ratio are missing: make the naive recipe's pictures with "
              "--naive-pictures benchmarks/naive_pictures")
    if sheet:
        shown = {concept: shown[concept] for concept in compared or shown}
        names = next(iter(compared.values() or found.values()))
        save_sheet(list(shown.values()), list(shown), ", ".join(names), sheet, columns=max(map(len, shown.values())))


def draw(demo: DemoModel, concept: str, presets: Sequence[tuple[str, int]], repetitions: int) -> dict[str, Tensor]:
    """Final latents of plain samples, of the zero latent and of each preset at each K, by the recipe's name."""
    def run(denoiser, sigmas):
        zero = zero_latent_sample(denoiser, sigmas, demo.shape)
        latents = {"plain sample": plain_samples(denoiser, sigmas, demo.shape, 3 * repetitions, 1000, BATCH),
                   "zero-latent sample": zero.expand(repetitions, -1, -1, -1)}
        for name, count in presets:
            latents[f"{name}, K {count}"] = torch.cat([
                align(denoiser, sigmas, demo.shape, preset_settings(name, count, seed), batch=BatchSize(BATCH)).latents
                for seed in range(repetitions)])
        return latents

    return demo.with_denoiser(concept, GUIDANCE, run)


def measure(judge: FeatureSpace, pictures: dict[str, Tensor], naive_seeds: list[int]) -> dict[str, Measured]:
    features = {name: judge(rows) for name, rows in pictures.items()}
    plain, sharp = features["plain sample"], sharpness(pictures["plain sample"]).mean()
    measured = {}
    for name, rows in pictures.items():
        # The same seed stands for the same ensemble, except for plain samples.
        own, near = features[name] if name == "naive" else features[name][naive_seeds], torch.empty(0)
        if "naive" in pictures:
            near = 1 - (own * features["naive"]).sum(1).clamp(max=1)
        others = len(plain) - 1 if name == "plain sample" else len(plain)  # not from itself
        typical = (len(plain) - (features[name] @ plain.T).sum(1)) / others
        measured[name] = Measured(features[name], typical.numpy(), (sharpness(rows) / sharp).numpy(), near.numpy(),
                                  pairwise_distance(own))
    return measured


def table_of_presets(found: dict[str, dict[str, Measured]]) -> None:
    names = [name for name in next(iter(found.values())) if name != "naive"]
    rows = []
    for name in names:
        measured = [each[name] for each in found.values()]
        rows.append([name, *(with_interval(np.array(values)) for values in (
            [each.consistency for each in measured], [each.typical.mean() for each in measured],
            [each.sharp.mean() for each in measured]))])
    print_table(["recipe", "consistency distance", "representativeness distance", "sharpness"], rows)


def table_beside_naive(compared: dict[str, dict[str, Measured]]) -> None:
    """Every recipe for every concept that has naive pictures; what lies outside the naive recipe's interval is said."""
    rows = []
    for concept, measured in compared.items():
        naive = measured["naive"]
        _, _, farthest = interval(naive.typical)
        _, dullest, _ = interval(naive.sharp)
        for name, each in measured.items():
            rows.append([f"{concept}, {name}", f"{each.shared:.4f}",
                         with_interval(each.typical) + (" worse" if each.typical.mean() > farthest else ""),
                         with_interval(each.sharp) + (" worse" if each.sharp.mean() < dullest else ""),
                         f"{each.to_naive.mean():.4f}", str(len(naive.features))])
    print_table(["recipe", "consistency distance, seeds with a naive picture", "representativeness distance",
                 "sharpness", "distance to naive of the same seed", "such seeds"], rows)


def ratios(compared: dict[str, dict[str, Measured]], name: str, suffix: str) -> dict[str, float]:
    """A recipe's consistency over the naive recipe's, and its distance to naive pictures over theirs from each other.

    Both of the same seeds, means over concepts.
    """
    apart = sum(measured["naive"].shared for measured in compared.values())
    return {f"consistency_ratio{suffix}": sum(measured[name].shared for measured in compared.values()) / apart,
            f"picture_distance_ratio{suffix}": sum(float(measured[name].to_naive.mean())
                                                   for measured in compared.values()) / apart}
