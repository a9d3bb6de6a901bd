"""Does alignment add anything when it starts from the clean latent that mean shift ends in?

K latents are noised from m at the level after the averaged ones, aligned there by a preset for a few steps, and
finished. Beside it: the average by mean shift alone, and the preset's own average from noise. Agreement and typical are
relative to plain samples, as in mean_shift.py.
"""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from support import (
    GUIDANCE,
    demo_and_judge,
    fill_in,
    pairwise_distance,
    parse_arguments,
    plain_samples,
    preset_settings,
    print_each,
    print_table,
    processes,
    results_of,
    save_sheet,
    shifted_average,
    worth,
    write_figures,
)
from torch import Tensor

from mental_averages.dma.alignment import Ensemble, align
from mental_averages.dma.diffusion import add_noise, starting_noise
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.mean_shift import MeanShiftSettings

CONCEPTS = ["woman", "red heart", "red apple", "house", "cat face", "tree"]
LEVELS, PLAIN_SEED = MeanShiftSettings.averaged_steps, 1000
SHIFTED, ALIGNED = "mean shift", "aligned from noise"
STEPS = (1, 3)  # aligned from m
MEASURES = ("agreement", "typical", "sharpness", "brightness")


def from_mean(denoiser, sigmas: Tensor, mean: Tensor, count: int, seed: int, steps: int) -> Tensor:
    """One picture of K latents noised from m (1, C, H, W), aligned for some steps."""
    noise = starting_noise(count, mean.shape[1:], seed)
    latents = add_noise(denoiser.parametrization, mean, noise, sigmas[LEVELS].item())
    settings = replace(preset_settings("standard", count, seed), aligned_steps=steps)
    return align(denoiser, sigmas[LEVELS:], mean.shape[1:], settings, batch=BatchSize(32),
                 start=Ensemble(latents, torch.ones(count), tuple(range(count)))).latents


def measure(concept: str, arguments) -> dict:
    demo, judge = demo_and_judge(arguments.transformer)

    def run(denoiser, sigmas):
        found = {"plain": [plain_samples(denoiser, sigmas, demo.shape, arguments.plain, PLAIN_SEED)], SHIFTED: [],
                 ALIGNED: [], **{steps: [] for steps in STEPS}}
        for seed in range(arguments.repetitions):
            shifted = shifted_average(denoiser, sigmas, demo.shape, arguments.guidance, seed, count=arguments.count)
            found[SHIFTED].append(shifted.latents)
            found[ALIGNED].append(align(denoiser, sigmas, demo.shape, preset_settings(
                "standard", arguments.count, seed), batch=BatchSize(32)).latents)
            for steps in STEPS:
                found[steps].append(from_mean(denoiser, sigmas, shifted.mean, arguments.count, seed, steps))
        return {name: demo.decode(torch.cat(latents)) for name, latents in found.items()}

    pictures = demo.with_denoiser(concept, arguments.guidance, run)
    plain = pictures.pop("plain")
    reference = judge(plain)
    apart, measured = pairwise_distance(reference), {}
    for name, rows in pictures.items():
        near = worth(rows, judge(rows), plain, reference)
        measured[name] = (near.consistency / apart, near.representativeness / apart, near.sharpness, near.brightness)
    print(f"{concept}: done", flush=True)
    return {"measured": measured, "shown": torch.cat([plain[:3], *(rows[:2] for rows in pictures.values())])}


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], count=dict(type=int, default=32, help="K"),
        guidance=dict(type=float, default=GUIDANCE), concepts=dict(type=int), repetitions=dict(type=int),
        plain=dict(type=int, help="plain samples of a concept"),
        transformer=dict(action="store_true", help="the demo transformer in place of the demo U-Net"),
        workers=dict(type=int, default=2, help="processes that share the concepts"), sheet=dict(type=Path))
    fill_in(arguments, concepts=(len(CONCEPTS), 2), repetitions=(3, 2), plain=(32, 16))
    concepts = CONCEPTS[: arguments.concepts]
    with processes(arguments.workers) as pool:
        results = results_of(pool, measure, concepts, arguments)
    names = {SHIFTED: SHIFTED, ALIGNED: ALIGNED, **{steps: f"aligned from m, {steps} steps" for steps in STEPS}}
    means = {name: np.mean([result["measured"][name] for result in results], axis=0) for name in names}
    print(f"\n{len(concepts)} concepts, {arguments.repetitions} ensembles, K {arguments.count}, guidance "
          f"{arguments.guidance:g}\n")
    print_table(["average", *MEASURES],
                [[names[name], *(f"{value:.3f}" for value in values)] for name, values in means.items()])
    print_each("average", MEASURES, {concept: result["measured"] for concept, result in zip(concepts, results)}, names)
    if arguments.sheet:
        save_sheet([result["shown"] for result in results], concepts,
                   f"3 plain samples, then 2 each: {', '.join(names.values())}", arguments.sheet)
    write_figures({f"{measure}_{str(names[name]).replace(' ', '_').replace(',', '')}": float(value)
                   for name, values in means.items() for measure, value in zip(MEASURES, values)}, arguments.json)


if __name__ == "__main__":
    main()
