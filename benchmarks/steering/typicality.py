"""What a push away from the average does to samples, beside other guidance and beside noise on the prompt.

Diversity is the mean distance (1 - cosine) between samples of a concept, in the features of an independent ImageNet
network; to the average the mean distance from the samples to it; recognised the share of samples that a classifier,
trained on real pictures of some ninety concepts, takes for their concept; sharpness is relative to plain samples. Means
over concepts. Push and noise act on the same first steps. What a way gains is its diversity where so much of the
recognised share is lost.
"""
from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from _gains import Measured, diversity_at, gain
from _ways import CFG, GUIDANCE, NOISE, PUSH, Way, average_of, samples_by
from support import (
    ICONS,
    Recogniser,
    choose_concepts,
    demo_and_judge,
    fill_in,
    pairwise_distance,
    parse_arguments,
    print_table,
    processes,
    results_of,
    save_sheet,
    sharpness,
    with_interval,
    write_figures,
)

import dataset

CONCEPTS = ["grinning face", "red apple", "red heart", "house", "cat face", "bird", "fish", "sailboat"]
OTHERS = 80  # concepts that the classifier may take a picture for instead
STRENGTHS = [-0.5, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.5]
GUIDANCES = [1.0, 2.0, 3.0, 5.0, 7.0, 10.0]
NOISES = [0.15, 0.3, 0.5, 0.75, 1.0, 1.5]
PLAIN = Way(PUSH, 0.0)
LOSS = 0.05  # of the recognised share, at which ways are compared
SHOWN = 8


@functools.cache
def recogniser(folder: Path) -> Recogniser:
    pictures, images = dataset.load(folder)
    concepts = list(dict.fromkeys([*CONCEPTS, *choose_concepts(pictures, OTHERS)]))
    return Recogniser(pictures, images, concepts, demo_and_judge()[1])


def measure(task: tuple[str, bool], arguments) -> tuple[dict[Way, Measured], dict[Way, torch.Tensor]]:
    """What was measured of each way for one concept on one demo model, and some pictures."""
    concept, transformer = task
    demo, judge = demo_and_judge(transformer)
    average = average_of(demo, concept)
    near = judge(demo.decode(average))
    found, pictures = {}, {}
    for way in arguments.ways:
        drawn = demo.decode(samples_by(demo, concept, way, average, arguments.samples))
        features = judge(drawn)
        right = recogniser(arguments.data).right(features, concept)
        found[way] = Measured(pairwise_distance(features), float(1 - (features @ near.T).mean()), float(right.mean()),
                              float(sharpness(drawn).mean()))
        pictures[way] = drawn[:SHOWN]
        print(f"{concept}, {'transformer' if transformer else 'U-Net'}, {way.kind} {way.amount:g}: done", flush=True)
    return found, pictures


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], data=ICONS, concepts=dict(type=int), samples=dict(type=int),
        models=dict(nargs="+", choices=["unet", "transformer"]), workers=dict(type=int, default=2),
        sheet=dict(type=Path, help="write sheets here, one for each model, with its name added"))
    fill_in(arguments, concepts=(len(CONCEPTS), 2), samples=(24, 8),
            models=(["unet", "transformer"], ["unet"]))
    few = arguments.quick
    arguments.ways = [PLAIN, *(Way(PUSH, each) for each in ([0.5, 1.0] if few else STRENGTHS)),
                      *(Way(GUIDANCE, each) for each in ([3.0] if few else GUIDANCES)),
                      *(Way(NOISE, each) for each in ([0.5, 1.0] if few else NOISES))]
    concepts = CONCEPTS[: arguments.concepts]
    tasks = [(concept, model == "transformer") for model in arguments.models for concept in concepts]
    recogniser(arguments.data)  # the pictures are prepared once, before processes share the work
    with processes(arguments.workers) as pool:
        results = results_of(pool, measure, tasks, arguments)
    figures = {}
    for number, model in enumerate(arguments.models):
        own = results[number * len(concepts) : (number + 1) * len(concepts)]
        figures |= report(model, [found for found, _ in own], arguments)
        if arguments.sheet:
            path = arguments.sheet.with_name(f"{arguments.sheet.stem}_{model}{arguments.sheet.suffix}")
            ways = sorted((way for way in arguments.ways if way.kind == PUSH), key=lambda way: way.amount)
            save_sheet([pictures[way] for _, pictures in own for way in ways],
                       [f"{concept}, {way.amount:g}" for concept in concepts for way in ways],
                       "the same noise by strength of the push", path, cell=64, columns=SHOWN)
    print("\nall models together")
    write_figures(figures | compare([found for found, _ in results], arguments.ways, ""), arguments.json)


def report(model: str, found: list[dict[Way, Measured]], arguments) -> dict[str, float]:
    """Print the table of a model; its figures."""
    print(f"\n{model}: {len(found)} concepts, {arguments.samples} samples, guidance {CFG:g}\n")
    plain, figures = [each[PLAIN] for each in found], {}
    rows = []
    for way in arguments.ways:
        columns = np.array([each[way] for each in found])  # (concepts, 4)
        columns[:, 3] /= [each.sharpness for each in plain]
        rows.append([way.kind, f"{way.amount:g}", *map(with_interval, columns.T)])
        key = f"{model}_{way.kind.replace(' ', '_')}_{way.amount:g}"
        figures |= {f"{name}_{key}": float(value) for name, value in zip(Measured._fields, columns.mean(0))}
    print_table(["way", "amount", "diversity", "to the average", "recognised", "sharpness"], rows)
    return figures | compare(found, arguments.ways, f"_{model}")


def compare(found: list[dict[Way, Measured]], ways: list[Way], suffix: str) -> dict[str, float]:
    """Print what each way gains at an equal loss of recognition; its figures, their names with a suffix."""
    # Ways to more variety, each from the plain samples on: less guidance, more of the others.
    more = {PUSH: sorted((way for way in ways if way.kind == PUSH and way.amount > 0), key=lambda way: way.amount),
            GUIDANCE: sorted((way for way in ways if way.kind == GUIDANCE and way.amount < CFG),
                             key=lambda way: -way.amount),
            NOISE: sorted((way for way in ways if way.kind == NOISE), key=lambda way: way.amount)}
    more = {kind: [PLAIN, *steps] for kind, steps in more.items()}
    names = {PUSH: "a push", GUIDANCE: "lower guidance", NOISE: "noise on the prompt"}
    print(f"\nwhere {LOSS:.0%} of samples are no longer recognised\n")
    print_table(["way", "diversity relative to plain samples"],
                [[names[kind], f"{diversity_at(found, steps, LOSS) / diversity_at(found, [PLAIN], LOSS):.3f}"]
                 for kind, steps in more.items()])
    figures = {}
    for other, name in ((NOISE, "diversity_gain_at_equal_recognition"), (GUIDANCE, "diversity_gain_over_guidance")):
        value, low, high = gain(found, more[PUSH], more[other], LOSS)
        print(f"\n{name}{suffix}: {value:.3f} ({low:.3f}-{high:.3f})")
        figures |= {f"{name}{suffix}": value, f"{name}{suffix}_low": low, f"{name}{suffix}_high": high}
    return figures


if __name__ == "__main__":
    main()
