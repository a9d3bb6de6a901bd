"""Which levels, guidance, noises and schedule an average by mean shift wants.

Averages of several ensembles are compared with plain samples of the same guidance, in the features of an independent
ImageNet network. Agreement is the distance between ensembles over that between plain samples, typical the distance to
plain samples over that between them (1 is that of a plain sample, less is more representative); sharpness and
brightness are relative to plain samples. Means over concepts; in parentheses the least and the largest.
"""
from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import torch
from _grid import Point, pictures, plain_pictures, qualities
from _tables import figures_of, print_matrices, print_rows
from support import (
    GUIDANCE,
    SCHEDULER,
    STEPS,
    DemoModel,
    FeatureSpace,
    fill_in,
    parse_arguments,
    processes,
    results_of,
    save_sheet,
    write_figures,
)

import pack
from mental_averages.dma.mean_shift import GUIDANCE_SHARE, MeanShiftSettings, averaged_guidance, noise_for

CONCEPTS = ["woman", "red heart", "red apple", "house", "cat face", "tree"]
COUNTS = [4, 8, 16, 32, 64, 128, 256]
PAIRED_COUNTS = [8, 16, 32, 64]
SHARES = [0.0, 0.35, 0.5, 0.7, 1.0]
LEVELS = [2, 4, 5, 6, 8]
NOISES = [0.0, 1.0]
GUIDANCES = [2.0, GUIDANCE, 7.0]
SCHEDULES = [(scheduler, steps) for scheduler in ("ddim_uniform", "normal", "karras", "exponential")
             for steps in (10, 20, 40)]


def grid(arguments) -> list[Point]:
    """The choices of a table."""
    share = arguments.guidance_share
    if arguments.table == "count":
        return [Point(averaged_guidance(guidance, share), guidance, arguments.levels, count, noise_for(guidance))
                for guidance in arguments.guidances for count in COUNTS]
    if arguments.table == "pairs":
        return [Point(averaged_guidance(guidance, share), guidance, arguments.levels, count, noise_for(guidance), pairs)
                for guidance in arguments.guidances for count in PAIRED_COUNTS for pairs in (False, True)]
    if arguments.table == "schedule":
        return [Point(averaged_guidance(guidance, share), guidance, levels, noise=noise_for(guidance))
                for guidance in arguments.guidances for levels in (3, 6)]
    if arguments.table == "grid":
        return [Point(averaged_guidance(guidance, each), guidance, levels, noise=noise)
                for guidance in arguments.guidances for each in SHARES for levels in LEVELS for noise in NOISES]
    return [point for guidance in arguments.guidances for point in around(guidance, share, arguments.levels)]


def around(guidance: float, share: float, levels: int) -> list[Point]:
    """The rule's point, and those that differ from it in one choice."""
    rule = Point(averaged_guidance(guidance, share), guidance, levels, noise=noise_for(guidance))
    return list(dict.fromkeys([
        rule, *(replace(rule, averaging=averaged_guidance(guidance, share + more)) for more in (-0.2, 0.2)),
        *(replace(rule, levels=levels + more) for more in (-2, 2)), *(replace(rule, noise=noise) for noise in NOISES)]))


@functools.cache
def loaded(checkpoint: Path) -> tuple[DemoModel, FeatureSpace]:
    return DemoModel(checkpoint), FeatureSpace()


def measure(task: tuple[str, str, int], arguments) -> dict:
    """The qualities of all choices for one concept on one schedule, and some pictures."""
    concept, scheduler, steps = task
    schedule = dict(scheduler=scheduler, steps=steps)
    demo, judge = loaded(arguments.checkpoint)
    points = [point for point in grid(arguments) if point.levels < steps]
    found = pictures(demo, concept, points, arguments.repetitions, **schedule)
    plain = {guidance: plain_pictures(demo, concept, guidance, arguments.plain, **schedule)
             for guidance in arguments.guidances}
    print(f"{concept}, {scheduler}, {steps} steps: done", flush=True)
    return {"qualities": qualities(judge, found, plain), "pictures": {point: rows[:2] for point, rows in found.items()},
            "plain": {guidance: rows[:4] for guidance, rows in plain.items()}}


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], table=dict(choices=["rule", "grid", "count", "pairs", "schedule"], default="rule"),
        checkpoint=dict(type=Path, default=None, help="an assembled checkpoint in place of the demo U-Net's"),
        transformer=dict(action="store_true", help="the demo transformer in place of the demo U-Net"),
        guidances=dict(type=float, nargs="+", help="in the end"), concepts=dict(type=int), repetitions=dict(type=int),
        levels=dict(type=int, default=MeanShiftSettings.averaged_steps, help="of the rule and the table of counts"),
        guidance_share=dict(type=float, default=GUIDANCE_SHARE, help="of all tables but the grid"),
        plain=dict(type=int, help="plain samples of a concept and guidance"),
        workers=dict(type=int, default=2, help="processes that share the concepts"),
        sheet=dict(type=Path, help="write a sheet of the table"))
    fill_in(arguments, guidances=(GUIDANCES, [GUIDANCE]), concepts=(len(CONCEPTS), 2),
            repetitions=(3, 2), plain=(32, 16))
    if arguments.checkpoint is None:
        arguments.checkpoint = pack.demo_transformer() if arguments.transformer else pack.demo_checkpoint()
    schedules = SCHEDULES if arguments.table == "schedule" else [(SCHEDULER, STEPS)]
    concepts = CONCEPTS[: arguments.concepts]
    tasks = [(concept, *schedule) for schedule in schedules for concept in concepts]
    with processes(arguments.workers) as pool:
        results = results_of(pool, measure, tasks, arguments)
    measured = {}
    for number, schedule in enumerate(schedules):
        own = results[number * len(concepts) : (number + 1) * len(concepts)]
        measured[schedule] = {point: [result["qualities"][point] for result in own] for point in own[0]["qualities"]}
    print(f"\n{len(concepts)} concepts, {arguments.repetitions} ensembles, {arguments.plain} plain samples\n")
    (print_matrices if arguments.table == "grid" else print_rows)(measured)
    if arguments.sheet:
        save_sheet([torch.cat([result["plain"][guidance][:2], *(rows for point, rows in result["pictures"].items()
                                                                if point.finishing == guidance)])
                    for result in results for guidance in arguments.guidances],
                   [f"{concept}, {scheduler}, {steps} steps, guidance {guidance:g}"
                    for concept, scheduler, steps in tasks for guidance in arguments.guidances],
                   "2 plain samples, then the rows of the table, 2 pictures each", arguments.sheet, cell=64, columns=22)
    write_figures(figures_of(measured), arguments.json)


if __name__ == "__main__":
    main()
