"""What both mental averages are worth on the demo models, beside plain samples, medoid, pixel mean, latent mean and the
zero-latent sample.

For each concept and repetition K noise latents are drawn. The aligned average is made by a preset and finishes several
of its carried latents; the average by mean shift is made with the settings of MentalAverage. Measures, in the feature
space of an independent ImageNet network: consistency between ensembles is the mean distance (1 - cosine) between the
repetitions' first pictures, within an ensemble that between the pictures of one repetition; representativeness the mean
distance from a first picture to the plain samples of all other repetitions; sharpness the variance of the Laplacian and
brightness the mean, relative to plain samples of the concept. Intervals are 95 % bootstrap intervals over concepts.
"""
from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from support import (
    GUIDANCE,
    check_least,
    demo_and_judge,
    fill_in,
    pairwise_distance,
    parse_arguments,
    plain_samples,
    preset_settings,
    print_table,
    processes,
    results_of,
    save_sheet,
    shifted_average,
    timed,
    with_interval,
    worth,
    write_figures,
)

from mental_averages.dma import baselines
from mental_averages.dma.alignment import PRESETS, align
from mental_averages.dma.baselines import zero_latent_sample
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.mean_shift import GUIDANCE_SHARE, MeanShiftSettings

CONCEPTS = ["woman", "red heart", "cat face", "dog face", "red apple", "grinning face", "health worker", "house",
            "pizza", "rocket", "tree", "fish", "car", "flower", "bird", "crown"]
LARGE_SEED = 10_000  # apart from the seeds of the small ensembles, which would share their first latents
NAMES = ("consistency", "within", "representativeness", "sharpness", "brightness", "to_zero")
ALIGNED, SHIFTED, LARGE = "aligned average", "mean shift", "large aligned average"
KEPT = 4  # pictures of an ensemble


def methods(arguments) -> list[str]:
    return ["plain sample", "medoid", "pixel mean", "latent mean", "zero latent", ALIGNED,
            *[LARGE][: arguments.large_count], SHIFTED]


def pictures_of(demo, concept, arguments, judge):
    """Pictures (R, kept, H, W, 3) by method, all plain samples' pictures, reports and seconds, of one concept."""
    found, plain, reports, seconds = {method: [] for method in methods(arguments)}, [], [], {ALIGNED: [], SHIFTED: []}

    def aligned(denoiser, sigmas, count, seed):
        settings = preset_settings(arguments.preset, count, seed, restored_noise=arguments.restored_noise, keep=KEPT)
        return align(denoiser, sigmas, demo.shape, settings, batch=BatchSize(32))

    def run(denoiser, sigmas):
        zero = demo.decode(zero_latent_sample(denoiser, sigmas, demo.shape))
        for seed in range(arguments.repetitions):
            samples = plain_samples(denoiser, sigmas, demo.shape, arguments.count, seed)
            taken, average = timed(aligned, denoiser, sigmas, arguments.count, seed)
            seconds[ALIGNED].append(taken)
            reports.append(average.report)
            taken, shifted = timed(shifted_average, denoiser, sigmas, demo.shape, arguments.guidance, seed,
                                   share=arguments.guidance_share, noise=arguments.shift_noise, count=arguments.count,
                                   averaged_steps=arguments.averaged_steps)
            seconds[SHIFTED].append(taken)
            decoded = demo.decode(samples)
            plain.append(decoded)
            central = baselines.medoid(judge(decoded))
            pictures = {"plain sample": decoded[:KEPT], "medoid": decoded[central : central + 1],
                        "pixel mean": baselines.mean_of(decoded),
                        "latent mean": demo.decode(baselines.mean_of(samples)), "zero latent": zero,
                        ALIGNED: demo.decode(average.latents), SHIFTED: demo.decode(shifted.latents)}
            if arguments.large_count:
                pictures[LARGE] = demo.decode(aligned(denoiser, sigmas, arguments.large_count,
                                                      LARGE_SEED + seed).latents)
            for method, shown in pictures.items():
                found[method].append(shown)

    demo.with_denoiser(concept, arguments.guidance, run, branch=arguments.branch)
    return {method: torch.stack(pictures) for method, pictures in found.items()}, torch.cat(plain), reports, seconds


def measure_concept(concept: str, arguments) -> dict:
    """All measures of one concept, in a process of its own."""
    started = time.monotonic()
    demo, judge = demo_and_judge(arguments.transformer)
    found, plain, reports, seconds = pictures_of(demo, concept, arguments, judge)
    reference, zero = judge(plain), judge(found["zero latent"][0])
    repetition = torch.arange(arguments.repetitions)
    own = repetition[:, None] == repetition.repeat_interleave(arguments.count)  # (R, R K)
    measured = {}
    for method, pictures in found.items():
        features = judge(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])  # (R, kept, D)
        within = np.mean([pairwise_distance(rows) for rows in features]) if features.shape[1] > 1 else 0.0
        measured[method] = {**worth(pictures[:, 0], features[:, 0], plain, reference, own)._asdict(), "within": within,
                            "to_zero": float(1 - (features[:, 0] @ zero.T).mean())}
    shown = torch.cat([plain[:4], *[found[method][: columns_of(method), 0] for method in methods(arguments)[1:]]])
    print(f"{concept}: {time.monotonic() - started:.0f} s, " + ", ".join(
        f"{method} {measured[method]['consistency']:.3f}/{measured[method]['sharpness']:.2f}" for method in measured),
          flush=True)
    return {"measured": measured, "shown": shown, "seconds": {name: np.mean(took) for name, took in seconds.items()},
            "residuals": [[np.mean(step.residual_after) for step in report.steps] for report in reports],
            "iterations": np.mean([sum(np.mean(step.iterations) for step in report.steps) for report in reports])}


def columns_of(method: str) -> int:
    """How many pictures of a method the sheet shows, of as many seeds."""
    return 2 if "average" in method or method == SHIFTED else 1


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], count=dict(type=int, default=32, help="K"), repetitions=dict(type=int),
        concepts=dict(type=int), guidance=dict(type=float, default=GUIDANCE),
        preset=dict(choices=list(PRESETS), default="standard"),
        branch=dict(choices=["conditional", "unconditional", "guided"], default="conditional",
                    help="whose features are matched"),
        restored_noise=dict(type=float, default=0.0, help="of the aligned average"),
        averaged_steps=dict(type=int, default=MeanShiftSettings.averaged_steps, help="of mean shift"),
        guidance_share=dict(type=float, default=GUIDANCE_SHARE, help="of mean shift"),
        shift_noise=dict(type=float, help="restored noise of mean shift (default: what suits the guidance)"),
        large_count=dict(type=int, default=0, help="K of a large aligned average, 0 for none"),
        transformer=dict(action="store_true", help="the demo transformer in place of the demo U-Net"),
        workers=dict(type=int, default=2, help="processes that share the concepts"),
        sheet=dict(type=Path, help="write a sheet of all methods"))
    # The paper's 300 iterations at 10 steps are hours on a CPU: the preset stops on the residual; say how much was
    # left.
    fill_in(arguments, repetitions=(10, 4), concepts=(12, 3))
    check_least(arguments, repetitions=2)  # samples of other repetitions are what a picture is measured by
    concepts = CONCEPTS[: arguments.concepts]
    with processes(arguments.workers) as pool:
        results = results_of(pool, measure_concept, concepts, arguments)
    compared = methods(arguments)
    measures = {method: {name: [result["measured"][method][name] for result in results] for name in NAMES}
                for method in compared}
    residuals = np.array([result["residuals"] for result in results])  # (concepts, repetitions, aligned steps)
    print(f"\nK {arguments.count} (large average: {arguments.large_count}), {arguments.repetitions} repetitions, "
          f"{len(concepts)} concepts, guidance {arguments.guidance}, preset {arguments.preset}, branch "
          f"{arguments.branch}, restored noise {arguments.restored_noise}; mean shift: {arguments.averaged_steps} "
          f"levels, guidance share {arguments.guidance_share}, restored noise "
          f"{'by guidance' if arguments.shift_noise is None else arguments.shift_noise}")
    print(f"residual left after each aligned step: {np.round(residuals.mean(axis=(0, 1)), 5).tolist()}; "
          f"{np.mean([result['iterations'] for result in results]):.0f} iterations per latent in all\n")
    print_table(["method", "consistency between ensembles", "within an ensemble", "representativeness distance",
                 "sharpness", "brightness", "distance to the zero-latent sample"],
                [[method, *(with_interval(measures[method][name]) for name in NAMES)] for method in compared])
    print()
    print_table(["concept", *compared],
                [[concept, *(f"{measures[m]['consistency'][i]:.3f} / {measures[m]['representativeness'][i]:.3f} / "
                             f"{measures[m]['sharpness'][i]:.2f}" for m in compared)]
                 for i, concept in enumerate(concepts)])
    if arguments.sheet:
        headings = [*["plain sample"] * 4, *(method for method in compared[1:] for _ in range(columns_of(method)))]
        save_sheet([result["shown"] for result in results], concepts, "", arguments.sheet, headings=headings)
    mean = lambda method, name: float(np.mean(measures[method][name]))  # noqa: E731
    keys = {"plain": "plain sample", "average": ALIGNED, "mean_shift": SHIFTED, "medoid": "medoid",
            "zero_latent": "zero latent", "pixel_mean": "pixel mean", "latent_mean": "latent mean",
            **({"large_average": LARGE} if arguments.large_count else {})}
    figures = {f"{name}{'_ratio' if name in ('sharpness', 'brightness') else ''}_{key}": mean(method, name)
               for name in NAMES[:5] if name != "within" for key, method in keys.items()}
    write_figures({
        **figures,
        **{f"consistency_within_{key}": mean(keys[key], "within") for key in ("plain", "average", "mean_shift")},
        "consistency_mean_shift_over_plain": mean(SHIFTED, "consistency") / mean("plain sample", "consistency"),
        **{f"seconds_{key}": float(np.mean([result["seconds"][keys[key]] for result in results]))
           for key in ("average", "mean_shift")},
        "distance_average_to_zero_latent": mean(ALIGNED, "to_zero"),
        "distance_mean_shift_to_zero_latent": mean(SHIFTED, "to_zero"),
        "final_residual": float(residuals[..., -1].mean()),
    }, arguments.json)


if __name__ == "__main__":
    main()
