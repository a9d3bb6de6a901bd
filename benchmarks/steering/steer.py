"""What a direction that is added to a network's features does to samples: the share with an attribute by strength.

The direction is that from real pictures without the attribute to those with it: darker and lighter skin, and drawing
styles. A judge that shares nothing with the demo model tells the attribute of samples of prompts that do not name it;
how often it is right on held-out real pictures stands beside the tables. Recognised is the share of samples that a
classifier takes for their concept, distance what lies between steered and plain samples of the same noise (1 - cosine
of the judge's features), sharpness is relative to plain samples. Means over prompts, with their 95 % interval.

Ahead of them stands where each layer alone leads: by how much of the way between the mean pictures of the two sets the
predictions of noisy pictures move at strength 1, at three noise levels. Below 0 they move away from the attribute.
"""
from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _directions import ALL, CFG, LATE, MIDDLE, TARGETS, Target, Way, direction_of, steered
from _leading import LEVELS, leading
from support import (
    ICONS,
    LOOKS,
    Recogniser,
    choose_concepts,
    demo_and_judge,
    fill_in,
    look_teller,
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

STRENGTHS = [-6.0, -3.0, -1.0, 1.0, 3.0, 6.0, 9.0, 12.0]
OTHERS = 80  # concepts that the classifier may take a picture for instead
SHOWN = 6
PLAIN = Way(0.0)
CHOICES = {  # what else than strength may be chosen, at one strength
    "first half of sampling": dict(end=0.5), "second half": dict(start=0.5), "the source's part": dict(start=0.5,
                                                                                                       end=0.95),
    "conditional side alone": dict(conditional=True),
    "read at 0.3": dict(percent=0.3), "read at 0.9": dict(percent=0.9),
    "the layer in the middle": dict(where=MIDDLE), "the last layers": dict(where=LATE), "all layers": dict(where=ALL),
}
CHOSEN = 3.0


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
    """What was measured of each way for one target on one demo model by prompt, the direction, some pictures, and where
    layers lead."""
    target, transformer = task
    demo, judge = demo_and_judge(transformer)
    tells, _ = teller(arguments.data, target.kind)
    found, pictures, directions = {}, {}, {}
    leads = leading(demo, target, arguments.data, arguments.pictures, arguments.draws)
    prompts = LOOKS[target.kind][: arguments.prompts]
    for way in arguments.ways:
        read = dataclasses.replace(PLAIN, percent=way.percent, where=way.where)
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
    return found, directions[PLAIN], {key: value for key, value in pictures.items() if key[1] != "plain"}, leads


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], data=ICONS, prompts=dict(type=int), samples=dict(type=int), pictures=dict(type=int),
        draws=dict(type=int), targets=dict(nargs="+", choices=[target.name for target in TARGETS]),
        models=dict(nargs="+", choices=["unet", "transformer"]), workers=dict(type=int, default=2),
        sheet=dict(type=Path, help="write sheets here, one for each target and model, with their names added"))
    fill_in(arguments, prompts=(6, 2), samples=(16, 6), pictures=(64, 24), draws=(4, 1),
            targets=([target.name for target in TARGETS], ["dark", "twitter"]),
            models=(["unet", "transformer"], ["unet"]))
    few = arguments.quick
    arguments.ways = [PLAIN, *(Way(strength) for strength in ([-6.0, 6.0] if few else STRENGTHS)),
                      *([] if few else [Way(CHOSEN, **choice) for choice in CHOICES.values()])]
    tasks = [(target, model == "transformer") for model in arguments.models for target in TARGETS
             if target.name in arguments.targets]
    recogniser(arguments.data)  # the pictures are prepared once, before processes share the work
    with processes(arguments.workers) as pool:
        results = results_of(pool, measure, tasks, arguments)
    figures = {}
    for (target, transformer), (found, direction, pictures, leads) in zip(tasks, results):
        name = f"{'transformer' if transformer else 'unet'}_{target.name}"
        print(f"\n{name}: where layers lead at strength 1\n")
        print_table(["layer", *(f"level {level:g}" for level in LEVELS)],
                    [[layer, *(f"{share:+.1%}" for share in shares)] for layer, shares in leads.items()])
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
    print(f"\n{name}: {target.kind}, {arguments.samples} samples of each prompt, guidance {CFG:g}; the judge is right "
          f"on {right:.0%} of held-out pictures; the direction tells {direction.positive} + {direction.negative} "
          f"pictures apart with AUROC {best[1].auroc:.3f} and d' {best[1].d_prime:.2f} at {best[0]}\n")
    prompts = LOOKS[target.kind][: arguments.prompts]
    titles = {Way(CHOSEN, **choice): title for title, choice in CHOICES.items()}
    rows, figures = [], {f"auroc_{name}": best[1].auroc, f"d_prime_{name}": best[1].d_prime, f"judge_{name}": right}
    for way in arguments.ways:
        columns = np.array([found[way, prompt] for prompt in prompts]).T  # (measures, prompts)
        told = [column[np.isfinite(column)] for column in columns]
        title = titles.get(way, "")
        rows.append([f"{way.strength:g}", title, *(with_interval(each) if len(each) else "" for each in told)])
        key = f"{name}_{title.replace(' ', '_').replace(chr(39), '') or format(way.strength, 'g')}"
        figures |= {f"{field}_{key}": float(each.mean()) for field, each in zip(Measured._fields, told) if len(each)}
    print_table(["strength", "choice", f"share {target.name}", "recognised", "distance to plain", "sharpness"], rows)
    return figures


if __name__ == "__main__":
    main()
