"""What a direction that is added to a network's features does to samples: the share with an attribute by strength.

The direction is that from real pictures without the attribute to those with it: darker and lighter skin, and drawing
styles. A judge that shares nothing with the demo model tells the attribute of samples of prompts that do not name it;
how often it is right on held-out real pictures stands beside the tables. Recognised is the share of samples that a
classifier takes for their concept, distance what lies between steered and plain samples of the same noise (1 - cosine
of the judge's features), sharpness is relative to plain samples. Means over prompts, with their 95 % interval.

Ahead of them stands what the node DirectionFromPictures says of its layers: how well they tell the pictures apart, and
where they lead, by which it weights them.
"""
from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _directions import LATE, MIDDLE, SOURCE, TARGETS, Target, Way, direction_of, steered
from support import (
    GUIDANCE,
    ICONS,
    LOOKS,
    Recogniser,
    choose_concepts,
    demo_and_judge,
    fill_in,
    look_teller,
    parse_arguments,
    print_each,
    print_table,
    processes,
    results_of,
    save_sheet,
    sharpness,
    with_interval,
    write_figures,
)

import dataset

STRENGTHS = [-2.0, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0, 3.0]
OTHERS = 80  # concepts that the classifier may take a picture for instead
SHOWN = 6
UNSAID = str.maketrans('', '', "',")  # left out of names of figures
PLAIN = Way(0.0)
CHOICES = {  # what else than strength may be chosen
    "first half of sampling": Way(1.0, end=0.5), "second half": Way(1.0, start=0.5),
    "the source's part": Way(1.0, start=0.5, end=0.95), "conditional side alone": Way(1.0, conditional=True),
    "read at 0.3": Way(1.0, percent=0.3), "read at 0.9": Way(1.0, percent=0.9),
    "the layer in the middle": Way(1.0, MIDDLE), "the last layers": Way(1.0, LATE),
    "all layers alike": Way(1.0, weighting="equal"),
    **{f"the source's layers alike, {strength:g}": Way(strength, SOURCE, weighting="equal")
       for strength in (-3.0, 1.0, 3.0, 6.0)},
}


class Measured(NamedTuple):
    """Of one way and prompt."""

    share: float
    recognised: float
    distance: float
    sharpness: float


@functools.cache
def teller(folder: Path, kind: str):
    return look_teller(demo_and_judge()[1], folder, kind)


@functools.cache
def recogniser(folder: Path) -> Recogniser:
    pictures, images = dataset.load(folder)
    prompts = list(dict.fromkeys(prompt for prompts in LOOKS.values() for prompt in prompts))
    known = {picture.concept for picture in pictures}
    concepts = [prompt for prompt in prompts if prompt in known]
    return Recogniser(pictures, images, list(dict.fromkeys([*concepts, *choose_concepts(pictures, OTHERS)])),
                      demo_and_judge()[1])


def measure(task: tuple[Target, bool], arguments):
    """What was measured of each way for one target on one demo model by prompt, the direction, and some pictures."""
    target, transformer = task
    demo, judge = demo_and_judge(transformer)
    tells, _ = teller(arguments.data, target.kind)
    found, pictures, directions = {}, {}, {}
    prompts = LOOKS[target.kind][: arguments.prompts]
    for way in arguments.ways:
        read = dataclasses.replace(PLAIN, percent=way.percent, where=way.where, weighting=way.weighting)
        if read not in directions:
            directions[read] = direction_of(demo, target, read, arguments.data, arguments.pictures, arguments.draws)
        for prompt in prompts:
            drawn = demo.decode(steered(demo, prompt, directions[read], way, arguments.samples))
            features = judge(drawn)
            if way == PLAIN:
                pictures[prompt, "plain"] = drawn, features
            plain, plain_features = pictures[prompt, "plain"]
            pictures[prompt, way] = drawn[:SHOWN]
            known = prompt in recogniser(arguments.data).concepts
            found[way, prompt] = Measured(
                float(np.isin(tells.predict(features.numpy()), target.labels).mean()),
                float(recogniser(arguments.data).right(features, prompt).mean()) if known else float("nan"),
                float(1 - (features * plain_features).sum(1).mean()),
                float(sharpness(drawn).mean() / sharpness(plain).mean()))
        print(f"{target.name}, {'transformer' if transformer else 'U-Net'}, {way}: done", flush=True)
    return found, directions[PLAIN], {key: value for key, value in pictures.items() if key[1] != "plain"}


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], data=ICONS, prompts=dict(type=int, help="that samples are drawn of"),
        samples=dict(type=int, help="of each prompt and strength"),
        pictures=dict(type=int, help="of each kind that a direction is made of"),
        draws=dict(type=int, help="of noise, over which features are means"),
        targets=dict(nargs="+", choices=[target.name for target in TARGETS], help="kinds of pictures"),
        models=dict(nargs="+", choices=["unet", "transformer"]), workers=dict(type=int, default=2),
        sheet=dict(type=Path, help="write sheets here, one for each target and model, with their names added"))
    fill_in(arguments, prompts=(6, 2), samples=(16, 6), pictures=(64, 24), draws=(4, 1),
            targets=([target.name for target in TARGETS], ["dark", "twitter"]),
            models=(["unet", "transformer"], ["unet"]))
    few = arguments.quick
    arguments.ways = [PLAIN, *(Way(strength) for strength in ([-1.0, 1.0] if few else STRENGTHS)),
                      *([] if few else CHOICES.values())]
    tasks = [(target, model == "transformer") for model in arguments.models for target in TARGETS
             if target.name in arguments.targets]
    recogniser(arguments.data)  # the pictures are prepared once, before processes share the work
    with processes(arguments.workers) as pool:
        results = results_of(pool, measure, tasks, arguments)
    figures = {}
    for (target, transformer), (found, direction, pictures) in zip(tasks, results):
        name = f"{'transformer' if transformer else 'unet'}_{target.name}"
        print(f"\n{name}: layers\n")
        print_table(["layer", "AUROC", "leads", "weight"],
                    [[layer, f"{each.auroc:.3f}", f"{each.lead:+.1%}", f"{each.weight:+.2f}"]
                     for layer, each in direction.layers.items()])
        figures |= report(target, name, found, direction, arguments)
        if arguments.sheet:
            ways = sorted((way for way in arguments.ways if way == Way(way.strength)), key=lambda way: way.strength)
            prompts = LOOKS[target.kind][: min(3, arguments.prompts)]
            save_sheet([pictures[prompt, way] for prompt in prompts for way in ways],
                       [f"{prompt}, {way.strength:g}" for prompt in prompts for way in ways],
                       f"the same noise, steered to {target.kind} {target.name}",
                       arguments.sheet.with_name(f"{arguments.sheet.stem}_{name}{arguments.sheet.suffix}"), cell=64,
                       columns=SHOWN)
    write_figures(figures, arguments.json)


def report(target: Target, name: str, found: dict, direction, arguments) -> dict[str, float]:
    """Print the table of a target on a model; its figures."""
    _, right = teller(arguments.data, target.kind)
    best = max(direction.layers.items(), key=lambda item: item[1].auroc)
    print(f"\n{name}: {target.kind}, {arguments.samples} samples of each prompt, guidance {GUIDANCE:g}; the judge is "
          f"right on {right:.0%} of held-out pictures; the direction tells {direction.positive} + {direction.negative} "
          f"pictures apart with AUROC {best[1].auroc:.3f} and d' {best[1].d_prime:.2f} at {best[0]}\n")
    prompts = LOOKS[target.kind][: arguments.prompts]
    titles = {way: title for title, way in CHOICES.items()}
    rows, figures = [], {f"auroc_{name}": best[1].auroc, f"d_prime_{name}": best[1].d_prime, f"judge_{name}": right}
    for way in arguments.ways:
        columns = np.array([found[way, prompt] for prompt in prompts]).T  # (measures, prompts)
        told = [column[np.isfinite(column)] for column in columns]
        title = titles.get(way, "")
        rows.append([f"{way.strength:g}", title, *(with_interval(each) if len(each) else "" for each in told)])
        key = f"{name}_{title.replace(' ', '_').translate(UNSAID) or format(way.strength, 'g')}"
        figures |= {f"{field}_{key}": float(each.mean()) for field, each in zip(Measured._fields, told) if len(each)}
    measures = [f"share {target.name}", "recognised", "distance to plain", "sharpness"]
    print_table(["strength", "choice", *measures], rows)
    print_each("strength and choice", measures,
               {prompt: {way: found[way, prompt] for way in arguments.ways} for prompt in prompts},
               {way: f"{way.strength:g} {titles.get(way, '')}".strip() for way in arguments.ways})
    return figures


if __name__ == "__main__":
    main()
