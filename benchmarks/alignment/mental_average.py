"""What the mental average is worth on the demo model, beside plain samples, medoid, pixel mean, latent mean and the
zero-latent sample.

For each concept and repetition K noise latents are drawn, and with --large-count a larger number for a "large average".
Averages are made by a preset. Measures, in the feature space of an independent ImageNet network: consistency is the
mean distance (1 - cosine) between the repetitions' pictures; representativeness the mean distance from such a picture
to all plain samples of the concept; sharpness the variance of the Laplacian, relative to the mean over plain samples of
the concept. Intervals are 95 % bootstrap intervals over concepts.
"""
from __future__ import annotations

import functools
import time
from pathlib import Path

import numpy as np
import torch
from support import (
    demo_and_judge,
    fill_in,
    parse_arguments,
    plain_samples,
    preset_settings,
    print_table,
    processes,
    save_sheet,
    with_interval,
    worth,
    write_figures,
)

from mental_averages.dma import baselines
from mental_averages.dma.alignment import PRESETS, align
from mental_averages.dma.baselines import zero_latent_sample
from mental_averages.dma.execution import BatchSize

CONCEPTS = ["woman", "red heart", "cat face", "dog face", "red apple", "grinning face", "health worker", "house",
            "pizza", "rocket", "tree", "fish", "car", "flower", "bird", "crown"]
LARGE_SEED = 10_000  # apart from the seeds of the small ensembles, which would share their first latents
NAMES = ("consistency", "representativeness", "sharpness", "to_zero")
LARGE = "large average"


def methods(arguments) -> list[str]:
    return ["plain sample", "medoid", "pixel mean", "latent mean", "zero latent", "mental average",
            *[LARGE][: arguments.large_count]]


def pictures_of(demo, judge, concept, arguments, repetitions):
    """Pictures (R, H, W, 3) by method, all plain samples' pictures, and the reports, of one concept."""
    ensembles = [("mental average", arguments.count, 0)]
    if arguments.large_count:
        ensembles.append((LARGE, arguments.large_count, LARGE_SEED))
    found, plain, reports = {method: [] for method in methods(arguments)}, [], []

    def run(denoiser, sigmas):
        zero = zero_latent_sample(denoiser, sigmas, demo.shape)
        for repetition in range(repetitions):
            samples = plain_samples(denoiser, sigmas, demo.shape, arguments.count, repetition)
            for method, count, seed in ensembles:
                settings = preset_settings(arguments.preset, count, seed + repetition,
                                           restored_noise=arguments.restored_noise)
                average = align(denoiser, sigmas, demo.shape, settings, batch=BatchSize(32))
                found[method].append(demo.decode(average.latents))
                if method != LARGE:
                    reports.append(average.report)
            decoded = demo.decode(samples)
            plain.append(decoded)
            central = baselines.medoid(judge(decoded))
            for method, picture in (("plain sample", decoded[:1]), ("medoid", decoded[central : central + 1]),
                                    ("pixel mean", baselines.mean_of(decoded)),
                                    ("latent mean", demo.decode(baselines.mean_of(samples))),
                                    ("zero latent", demo.decode(zero))):
                found[method].append(picture)

    demo.with_denoiser(concept, arguments.guidance, run, branch=arguments.branch)
    return {method: torch.cat(pictures) for method, pictures in found.items()}, torch.cat(plain), reports


def measure_concept(concept: str, arguments) -> dict:
    """All measures of one concept, in a process of its own."""
    started = time.monotonic()
    demo, judge = demo_and_judge()
    found, plain, reports = pictures_of(demo, judge, concept, arguments, arguments.repetitions)
    reference, zero = judge(plain), judge(found["zero latent"][:1])
    measured = {}
    for method, pictures in found.items():
        features = judge(pictures)
        measured[method] = {**worth(pictures, features, plain, reference)._asdict(),
                            "to_zero": float(1 - (features @ zero.T).mean())}
    shown = torch.cat([plain[:4],
                       *[found[method][: 2 if "average" in method else 1] for method in methods(arguments)[1:]]])
    print(f"{concept}: {time.monotonic() - started:.0f} s, " + ", ".join(
        f"{method} {measured[method]['consistency']:.3f}/{measured[method]['sharpness']:.2f}" for method in measured),
          flush=True)
    return {"measured": measured, "shown": shown,
            "residuals": [[np.mean(step.residual_after) for step in report.steps] for report in reports],
            "iterations": np.mean([sum(np.mean(step.iterations) for step in report.steps) for report in reports])}


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], count=dict(type=int, help="K"), repetitions=dict(type=int), concepts=dict(type=int),
        guidance=dict(type=float, default=7.0), preset=dict(choices=list(PRESETS), default="standard"),
        branch=dict(choices=["conditional", "unconditional", "guided"], default="conditional",
                    help="whose features are matched"),
        restored_noise=dict(type=float, default=0.0),
        large_count=dict(type=int, default=0, help="K of a large average, 0 for none"),
        workers=dict(type=int, default=2, help="processes that share the concepts"),
        sheet=dict(type=Path, help="write a sheet of all methods"))
    # The paper's 300 iterations at 10 steps are hours on a CPU: the preset stops on the residual; say how much was
    # left.
    fill_in(arguments, count=(32, 12), repetitions=(10, 4), concepts=(12, 3))
    concepts = CONCEPTS[: arguments.concepts]
    with processes(arguments.workers) as pool:
        results = list(pool.map(functools.partial(measure_concept, arguments=arguments), concepts))
    compared = methods(arguments)
    measures = {method: {name: [result["measured"][method][name] for result in results] for name in NAMES}
                for method in compared}
    residuals = np.array([result["residuals"] for result in results])  # (concepts, repetitions, aligned steps)
    print(f"\nK {arguments.count} (large average: {arguments.large_count}), {arguments.repetitions} repetitions, "
          f"{len(concepts)} concepts, guidance {arguments.guidance}, preset {arguments.preset}, branch "
          f"{arguments.branch}, restored noise {arguments.restored_noise}")
    print(f"residual left after each aligned step: {np.round(residuals.mean(axis=(0, 1)), 5).tolist()}; "
          f"{np.mean([result['iterations'] for result in results]):.0f} iterations per latent in all\n")
    print_table(["method", "consistency distance", "representativeness distance", "sharpness",
                 "distance to the zero-latent sample"],
                [[method, *(with_interval(measures[method][name]) for name in NAMES)] for method in compared])
    print()
    print_table(["concept", *compared],
                [[concept, *(f"{measures[m]['consistency'][i]:.3f} / {measures[m]['representativeness'][i]:.3f} / "
                             f"{measures[m]['sharpness'][i]:.2f}" for m in compared)]
                 for i, concept in enumerate(concepts)])
    if arguments.sheet:
        save_sheet([result["shown"] for result in results], concepts,
                   "4 plain samples, medoid, pixel mean, latent mean, zero latent, 2 mental averages"
                   + (", 2 large ones" if arguments.large_count else ""), arguments.sheet)
    mean = lambda method, name: float(np.mean(measures[method][name]))  # noqa: E731
    write_figures({
        "consistency_plain": mean("plain sample", "consistency"),
        "consistency_average": mean("mental average", "consistency"),
        "consistency_medoid": mean("medoid", "consistency"),
        "consistency_zero_latent": mean("zero latent", "consistency"),
        "sharpness_ratio_average": mean("mental average", "sharpness"),
        "sharpness_ratio_pixel_mean": mean("pixel mean", "sharpness"),
        "sharpness_ratio_latent_mean": mean("latent mean", "sharpness"),
        "sharpness_ratio_zero_latent": mean("zero latent", "sharpness"),
        "representativeness_plain": mean("plain sample", "representativeness"),
        "representativeness_average": mean("mental average", "representativeness"),
        "representativeness_zero_latent": mean("zero latent", "representativeness"),
        "distance_average_to_zero_latent": mean("mental average", "to_zero"),
        "final_residual": float(residuals[..., -1].mean()),
        **({f"{name}_large_average": mean(LARGE, name) for name in NAMES[:3]} if arguments.large_count else {}),
    }, arguments.json)


if __name__ == "__main__":
    main()
