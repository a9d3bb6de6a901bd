"""What the papers leave open, tried on the demo model: one choice is changed at a time from the same base.

The columns: picture distance between repetitions (consistency) and to plain samples (representativeness), sharpness
relative to plain samples, the residual left after the last aligned step, and gradient steps per latent.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from _common import DemoModel, FeatureSpace, pairwise_distance, parse_arguments, print_table, save_sheet, sharpness, write_figures
from mental_averages.dma.alignment import AlignmentSettings, align, starting_noise
from mental_averages.dma.batching import BatchSize
from mental_averages.dma.diffusion import initial_latent
from mental_averages.dma.matching import Adam
from mental_averages.dma.sampling import sample

CONCEPTS = ["red heart", "cat face", "woman", "red apple"]


@dataclass(frozen=True)
class Choice:
    """A named deviation from the base settings."""

    name: str
    settings: dict = field(default_factory=dict)
    solver: dict = field(default_factory=dict)
    denoiser: dict = field(default_factory=dict)
    guidance: float | None = None


CHOICES = [
    Choice("base"),
    Choice("branch: unconditional", denoiser=dict(branch="unconditional")),
    Choice("branch: guided mix", denoiser=dict(branch="guided")),
    Choice("target taken anew 3 times a step", settings=dict(target_updates=3), solver=dict(iterations=14)),
    Choice("learning rate in our units", settings=dict(paper_units=False)),
    Choice("learning rate 0.02, 60 iterations", solver=dict(learning_rate=0.02, iterations=60)),
    Choice("learning rate 0.1", solver=dict(learning_rate=0.1)),
    Choice("features averaged over space", denoiser=dict(pooling="mean")),
    Choice("layer: input_blocks.3", denoiser=dict(layer="input_blocks.3")),
    Choice("layer: output_blocks.1", denoiser=dict(layer="output_blocks.1")),
    Choice("1 aligned step", settings=dict(aligned_steps=1)),
    Choice("2 aligned steps", settings=dict(aligned_steps=2)),
    Choice("6 aligned steps", settings=dict(aligned_steps=6)),
    Choice("10 aligned steps", settings=dict(aligned_steps=10)),
    Choice("tolerance 0.03", solver=dict(tolerance=0.03)),
    Choice("tolerance 0.0003, 200 iterations", solver=dict(tolerance=0.0003, iterations=200)),
    Choice("guidance 3", guidance=3.0),
    Choice("guidance 4.5", guidance=4.5),
    Choice("restored noise 0.3", settings=dict(restored_noise=0.3)),
    Choice("restored noise 0.6", settings=dict(restored_noise=0.6)),
    Choice("restored noise 1", settings=dict(restored_noise=1.0)),
    Choice("restored noise 1, 10 aligned steps", settings=dict(restored_noise=1.0, aligned_steps=10)),
]


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], sheet=dict(type=Path, help="write a sheet, one row per choice"),
                                only=dict(default="", help="only choices whose name contains this, and the base"))
    concepts, repetitions, count = (CONCEPTS[:2], 2, 6) if arguments.quick else (CONCEPTS, 4, 16)
    base = AlignmentSettings(count=count, aligned_steps=4, keep=1, solver=Adam(learning_rate=0.05, iterations=40, tolerance=0.003))
    demo, judge = DemoModel(), FeatureSpace()
    choices = [choice for choice in CHOICES if choice.name == "base" or arguments.only in choice.name]
    references, pictures_by_choice, plain_shown = {}, {choice.name: [] for choice in choices}, []
    rows, figures = [], {}
    for choice in choices:
        guidance = choice.guidance or 7.0
        settings = dataclasses.replace(base, **choice.settings, solver=dataclasses.replace(base.solver, **choice.solver))
        measured = []
        for concept in concepts:
            if (concept, guidance) not in references:
                def plain(denoiser, sigmas):
                    noise = starting_noise(3 * repetitions, demo.shape, seed=1000)
                    return sample(denoiser, initial_latent(denoiser.parametrization, noise, sigmas[0].item()), sigmas, BatchSize(32))

                decoded = demo.decode(demo.with_denoiser(concept, guidance, plain))
                references[concept, guidance] = (judge(decoded), sharpness(decoded).mean())
                if choice.name == "base":
                    plain_shown.append(decoded[:repetitions])

            def averages(denoiser, sigmas):
                return [align(denoiser, sigmas, demo.shape, dataclasses.replace(settings, seed=seed), batch_size=32)
                        for seed in range(repetitions)]

            found = demo.with_denoiser(concept, guidance, averages, **choice.denoiser)
            pictures = torch.cat([demo.decode(average.latents) for average in found])
            features, (reference, sharp) = judge(pictures), references[concept, guidance]
            steps = found[0].report.steps
            measured.append([pairwise_distance(features), float(1 - (features @ reference.T).mean()),
                             float(sharpness(pictures).mean() / sharp), pairwise_distance(reference),
                             np.mean([average.report.final_residual for average in found]),
                             sum(np.mean(step.iterations) for step in steps)])
            pictures_by_choice[choice.name].append(pictures)
        consistency, representativeness, sharp, plain_distance, residual, iterations = np.mean(measured, axis=0)
        rows.append([choice.name, f"{consistency:.3f}", f"{representativeness:.3f}", f"{sharp:.2f}", f"{plain_distance:.3f}",
                     f"{residual:.4f}", f"{iterations:.0f}"])
        print(rows[-1], flush=True)
        key = "".join(letter if letter.isalnum() else "_" for letter in choice.name)
        figures |= {f"consistency_{key}": consistency, f"representativeness_{key}": representativeness, f"sharpness_{key}": sharp}
    print(f"\n{len(concepts)} concepts, {repetitions} repetitions, K {count}; base: guidance 7, 4 aligned steps, at most 40 "
          "iterations at 0.05, tolerance 0.003, conditional branch, mid block\n")
    print_table(["choice", "consistency", "representativeness", "sharpness", "distance between plain samples", "residual", "iterations"], rows)
    if arguments.sheet:
        save_sheet([torch.cat(plain_shown), *[torch.cat(pictures_by_choice[choice.name]) for choice in choices]],
                   ["plain samples", *[choice.name for choice in choices]], "", arguments.sheet, cell=64, columns=16)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
