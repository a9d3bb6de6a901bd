"""What the papers leave open, tried on the demo model: one choice is changed at a time from the same base.

The columns: picture distance between repetitions (consistency), the same relative to that of plain samples at the same
guidance, distance to plain samples (representativeness), sharpness relative to plain samples, the residual left after
the last aligned step, and gradient steps per latent.
"""
from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from support import (
    GUIDANCE,
    STEPS,
    demo_and_judge,
    pairwise_distance,
    parse_arguments,
    plain_samples,
    print_table,
    processes,
    save_sheet,
    worth,
    write_figures,
)

from mental_averages.dma.alignment import PRESETS, AlignmentSettings, align
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.solvers import Adam

CONCEPTS = ["red heart", "cat face", "woman"]
WORKERS = 2  # processes that share the choices
LARGE = 512  # a K whose mean has a quarter of the error


@dataclass(frozen=True)
class Choice:
    """A named deviation from the base settings."""

    name: str
    settings: dict = field(default_factory=dict)
    solver: dict = field(default_factory=dict)
    denoiser: dict = field(default_factory=dict)
    guidance: float = GUIDANCE
    preset: str | None = None

    def settings_from(self, base: AlignmentSettings) -> AlignmentSettings:
        changed = dataclasses.replace(base, **self.settings, solver=dataclasses.replace(base.solver, **self.solver))
        return PRESETS[self.preset].apply(changed, STEPS) if self.preset else changed


CHOICES = [
    Choice("base"),
    Choice("branch: unconditional", denoiser=dict(branch="unconditional")),
    Choice("branch: guided mix", denoiser=dict(branch="guided")),
    Choice("target taken anew 3 times a step", settings=dict(target_updates=3), solver=dict(iterations=14)),
    Choice("learning rate in our units", settings=dict(paper_units=False)),
    Choice("learning rate 0.02, 60 iterations", solver=dict(learning_rate=0.02, iterations=60)),
    Choice("features averaged over space", denoiser=dict(pooling="mean")),
    Choice("layer: input_blocks.3", denoiser=dict(layer="input_blocks.3")),
    Choice("layer: output_blocks.1", denoiser=dict(layer="output_blocks.1")),
    Choice("1 aligned step", settings=dict(aligned_steps=1)),
    Choice("10 aligned steps", settings=dict(aligned_steps=10)),
    Choice("tolerance 0.03", solver=dict(tolerance=0.03)),
    Choice("tolerance 0.0003, 200 iterations", solver=dict(tolerance=0.0003, iterations=200)),
    Choice("preset draft", preset="draft"),
    Choice("preset standard", preset="standard"),
    Choice("own noise 0", settings=dict(own_noise=0.0)),
    Choice("restored noise 1", settings=dict(restored_noise=1.0)),
    Choice("guidance 1", guidance=1.0),
    Choice("guidance 3", guidance=3.0),
    Choice(f"K {LARGE}", settings=dict(count=LARGE)),
    Choice(f"K {LARGE}, own noise 0", settings=dict(count=LARGE, own_noise=0.0)),
    Choice(f"K {LARGE}, guidance 3", settings=dict(count=LARGE), guidance=3.0),
    Choice(f"K {LARGE}, guided mix", settings=dict(count=LARGE), denoiser=dict(branch="guided")),
]


@functools.cache
def plain_pictures(concept: str, guidance: float, count: int) -> torch.Tensor:
    """Pictures of ordinary samples from noise that no average starts from."""
    demo, _ = demo_and_judge()
    return demo.decode(demo.with_denoiser(concept, guidance, lambda denoiser, sigmas: plain_samples(
        denoiser, sigmas, demo.shape, count, seed=1000)))


def measure(choice: Choice, base: AlignmentSettings, concepts: list[str], repetitions: int, plain_count: int) -> dict:
    """The row of one choice, and its pictures, a concept after another."""
    (demo, judge), settings, measured, shown = demo_and_judge(), choice.settings_from(base), [], []
    for concept in concepts:
        plain = plain_pictures(concept, choice.guidance, plain_count)
        reference = judge(plain)

        def averages(denoiser, sigmas):
            return [align(denoiser, sigmas, demo.shape, dataclasses.replace(settings, seed=seed), batch=BatchSize(32))
                    for seed in range(repetitions)]

        found = demo.with_denoiser(concept, choice.guidance, averages, **choice.denoiser)
        pictures = torch.cat([demo.decode(average.latents) for average in found])
        features = judge(pictures)
        measured.append([*worth(pictures, features, plain, reference), pairwise_distance(reference),
                         np.mean([average.report.final_residual for average in found]),
                         np.mean([sum(np.mean(step.iterations) for step in average.report.steps)
                                  for average in found])])
        shown.append(pictures)
    print(f"{choice.name}: {np.round(np.mean(measured, axis=0), 3).tolist()}", flush=True)
    return {"measured": np.array(measured), "pictures": torch.cat(shown),
            "plain": torch.cat([plain_pictures(concept, choice.guidance, plain_count)[:repetitions]
                                for concept in concepts])}


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0],
                                sheet=dict(type=Path, help="write a sheet, one row per choice"),
                                only=dict(default="", help="only choices whose name contains this, and the base"))
    concepts, repetitions, count, carried = (CONCEPTS[1:2], 2, 8, 1) if arguments.quick else (CONCEPTS, 3, 32, 2)
    base = AlignmentSettings(count=count, aligned_steps=4, keep=1, carried=carried,
                             solver=Adam(learning_rate=0.05, iterations=40, tolerance=0.003))
    choices = [choice for choice in CHOICES if choice.name == "base" or arguments.only in choice.name]
    run = functools.partial(measure, base=base, concepts=concepts, repetitions=repetitions, plain_count=6 * repetitions)
    with processes(WORKERS) as pool:
        results = list(pool.map(run, choices))
    rows, figures = [], {}
    for choice, result in zip(choices, results):
        found = result["measured"].mean(axis=0)
        consistency, representativeness, sharp, _, plain_distance, residual, iterations = found
        rows.append([choice.name, f"{consistency:.3f}", f"{consistency / plain_distance:.2f}",
                     f"{representativeness:.3f}", f"{sharp:.2f}", f"{residual:.4f}", f"{iterations:.0f}"])
        key = "".join(letter if letter.isalnum() else "_" for letter in choice.name)
        figures |= {f"consistency_{key}": consistency, f"consistency_ratio_{key}": consistency / plain_distance,
                    f"representativeness_{key}": representativeness, f"sharpness_{key}": sharp}
    print(f"\n{len(concepts)} concepts, {repetitions} repetitions, K {count}, {carried} carried; base: guidance "
          f"{GUIDANCE:g}, 4 aligned steps, at most 40 iterations at 0.05, tolerance 0.003, conditional branch, mid "
          "block\n")
    print_table(["choice", "consistency", "relative to plain samples", "representativeness", "sharpness", "residual",
                 "iterations"], rows)
    print()
    print_table(["consistency by concept", *concepts],
                [[choice.name, *(f"{value:.3f}" for value in result["measured"][:, 0])]
                 for choice, result in zip(choices, results)])
    if arguments.sheet:
        save_sheet([results[0]["plain"], *[result["pictures"] for result in results]],
                   ["plain samples", *[choice.name for choice in choices]],
                   "", arguments.sheet, cell=64, columns=len(concepts) * repetitions)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
