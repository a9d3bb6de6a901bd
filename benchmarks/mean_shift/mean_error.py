"""How many noises the levels of an average by mean shift need: the error of a level's mean decides, or all are taken.

With `mean_error` a level stops when the standard error of its mean, relative to the mean's norm, is at most so much; it
is looked at after every 16 noises. Agreement is the distance between the averages of several ensembles and typical that
to plain samples, both relative to plain samples from each other; sharpness and brightness are relative to theirs.
Means over concepts, with 95 % bootstrap intervals; of noises the mean over levels.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from _grid import plain_pictures
from support import (
    GUIDANCE,
    demo_and_judge,
    fill_in,
    pairwise_distance,
    parse_arguments,
    print_each,
    print_table,
    processes,
    results_of,
    save_sheet,
    shifted_average,
    with_interval,
    worth,
    write_figures,
)

CONCEPTS = ["woman", "red heart", "red apple", "house", "cat face", "tree"]
CHOICES = [(16, 0.0), (32, 0.0), (64, 0.0), (64, 0.1), (64, 0.05), (64, 0.03)]  # most noises, mean_error
FEW = [(16, 0.0), (32, 0.1)]
NAMES = ("noises", "agreement", "typical", "sharpness", "brightness")


def measure(concept: str, arguments) -> dict:
    """What was measured of every choice for one concept, the mean noises of each level, and two pictures each."""
    demo, judge = demo_and_judge(arguments.transformer)
    plain = plain_pictures(demo, concept, arguments.guidance, arguments.plain)
    reference = judge(plain)
    apart = pairwise_distance(reference)
    measured, shown = {}, []
    for count, error in arguments.choices:
        made = demo.with_denoiser(concept, arguments.guidance, lambda denoiser, sigmas: [shifted_average(
            denoiser, sigmas, demo.shape, arguments.guidance, seed, count=count, mean_error=error)
            for seed in range(arguments.repetitions)], layer=None, gradients=False)
        drawn = demo.decode(torch.cat([each.latents for each in made]))
        taken = np.array([[level.count for level in each.report.levels] for each in made])  # (repetitions, levels)
        near = worth(drawn, judge(drawn), plain, reference)
        measured[count, error] = (taken.mean(), near.consistency / apart, near.representativeness / apart,
                                  near.sharpness, near.brightness), taken.mean(0)
        shown.append(drawn[:2])
    print(f"{concept}: done", flush=True)
    return {"measured": measured, "shown": torch.cat([plain[:2], *shown])}


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], guidance=dict(type=float, default=GUIDANCE), concepts=dict(type=int),
        repetitions=dict(type=int), plain=dict(type=int, help="plain samples of a concept"),
        transformer=dict(action="store_true", help="the demo transformer in place of the demo U-Net"),
        workers=dict(type=int, default=2), sheet=dict(type=Path, help="write a sheet of the table"))
    fill_in(arguments, concepts=(len(CONCEPTS), 1), repetitions=(3, 2), plain=(32, 8))
    arguments.choices = FEW if arguments.quick else CHOICES
    concepts = CONCEPTS[: arguments.concepts]
    with processes(arguments.workers) as pool:
        results = results_of(pool, measure, concepts, arguments)
    print(f"\n{len(concepts)} concepts, {arguments.repetitions} ensembles, guidance {arguments.guidance:g}\n")
    rows, figures = [], {}
    for count, error in arguments.choices:
        columns = np.array([result["measured"][count, error][0] for result in results]).T  # (5, concepts)
        by_level = np.mean([result["measured"][count, error][1] for result in results], axis=0)
        rows.append([f"{count}", f"{error:g}", " ".join(f"{each:.0f}" for each in by_level),
                     *map(with_interval, columns[1:])])
        figures |= {f"{name}_k{count}_error{error:g}": float(values.mean()) for name, values in zip(NAMES, columns)}
    print_table(["K at most", "mean_error", "noises of each level", *NAMES[1:]], rows)
    print_each("K at most, mean_error, noises of each level", NAMES[1:],
               {concept: {f"{count}, {error:g}, {' '.join(f'{each:.0f}' for each in by_level)}": values[1:]
                          for (count, error), (values, by_level) in result["measured"].items()}
                for concept, result in zip(concepts, results)})
    if arguments.sheet:
        save_sheet([result["shown"] for result in results], concepts, "2 plain samples, then the rows of the table, 2 "
                   "pictures each", arguments.sheet, cell=64, columns=2 * (1 + len(arguments.choices)))
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
