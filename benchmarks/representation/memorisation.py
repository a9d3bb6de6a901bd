"""How well scores of memorisation tell pictures that a network has by heart from those that it has seen once.

The ground truth is made here: a copy of the demo U-Net is trained on held-out pictures, half of each batch on some that
are shown over and over, the other half on training pictures among which others stand that are shown once. Both kinds
are drawn from the same pictures at random, one of each concept and style. AUROC is that of a score for the memorised
against those seen once; found is the share of the memorised above the threshold of a false positive rate of 1 %, which
is set on one half of those seen once, and false the share of the other half above it. The same scores on the demo U-Net
as it was, which knows neither, are the control: 0.5. Intervals are over pictures. The best score (`auroc_best`,
`tpr_best`) is the one with the highest AUROC on one half of the pictures of both kinds, and what it is worth is read
off the other half, so that the choice among many does not flatter it.

Then samples of the pictures' own prompts are steered to a drawing style, in both networks: the response is how far a
sample moves from that of the same noise without steering (1 - cosine of the features of an independent ImageNet
network). arXiv 2512.20963 has it that memorised pictures respond less or by jumps, others smoothly.
"""
from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from _memorising import batches, chosen, coded_rows, memorise
from _response import responses, style_direction
from support import (
    ICONS,
    DemoModel,
    as_pictures,
    demo_and_judge,
    fill_in,
    parse_arguments,
    print_table,
    processes,
    results_of,
    with_interval,
    write_figures,
)
from torch import Tensor

import dataset
from mental_averages.dma.representation import (
    GUIDANCE,
    MAXIMUM,
    Reading,
    channel_scores,
    fit,
    means_of_layers,
    scores_by_prompts,
)
from mental_averages.dma.statistics import against_references, auroc, fewest_references, wilson_interval

RATE = 0.01
RESAMPLED = 1000
TOGETHER = 32  # prompts in one batch
FIT_UNTOLD = "fit without the prompt"
GUIDANCE_LEVELS = [0.1, 0.3, 0.5, 0.7, 0.9]
SOURCE, MIDDLE, ALL = "the source's", "middle_block", "all"
KINDS = ("memorised", "once")
RESPONSE, STYLE, STRENGTH = "response", "twitter", 6.0
STRENGTHS = [-6.0, -3.0, 1.0, 3.0, STRENGTH, 9.0]
JUDGED = ["AUROC", f"found at {RATE:.0%}", "false"]


@dataclass(frozen=True)
class Way:
    """How features are read."""

    layers: str = SOURCE
    level: float = 0.99
    pooling: str = MAXIMUM
    draws: int = 1


DEFAULT = Way()
OTHERS = (Way(pooling="mean"), Way(layers=MIDDLE), Way(layers=ALL), Way(level=0.9), Way(level=0.7), Way(level=0.4),
          Way(draws=8), Way(MIDDLE, 0.7, "mean", 8))


def layers_of(demo: DemoModel, where: str) -> list[str]:
    from mental_averages.nodes import comfyui, inputs

    names = comfyui.layer_names(demo.model)
    return {SOURCE: inputs.source_of_memorisation(names), MIDDLE: [MIDDLE], ALL: names}[where]


def sigmas_at(demo: DemoModel, shares: list[float]) -> list[float]:
    from mental_averages.nodes.inputs import noise_levels

    return noise_levels(demo.model, " ".join(map(str, shares)))


def by_features(demo: DemoModel, latents: Tensor, way: Way) -> dict[str, Tensor]:
    layers = layers_of(demo, way.layers)
    found = demo.with_denoiser("", 1.0, lambda denoiser, sigmas: means_of_layers(
        denoiser, latents, sigmas_at(demo, [way.level]), layers, Reading(way.draws, 0, way.pooling)), layer=layers[-1],
        gradients=False)
    return channel_scores(list(found.values()))


def by_prompts(demo: DemoModel, latents: Tensor, prompts: list[str]) -> dict[str, Tensor]:
    """How much each picture's own prompt changes what is predicted (N,), and how well pictures are known by it and by
    the empty one."""
    sigmas, found = sigmas_at(demo, GUIDANCE_LEVELS), []
    for first in range(0, len(prompts), TOGETHER):
        rows = slice(first, first + TOGETHER)

        def ask(denoiser, _, rows: slice = rows) -> dict[str, Tensor]:
            told, untold = denoiser.with_guidance(1.0), denoiser.with_guidance(0.0)
            return scores_by_prompts(told, untold, latents[rows], sigmas) | {
                FIT_UNTOLD: fit(untold, latents[rows], sigmas)}

        found.append(demo.with_denoiser(prompts[rows], 1.0, ask, layer=None, gradients=False,
                                        latents=len(prompts[rows])))
    return {score: torch.cat([each[score] for each in found]) for score in found[0]}


def auroc_interval(positive: Tensor, negative: Tensor) -> tuple[float, float]:
    """The 95 % interval of AUROC, from pictures of both kinds drawn again with replacement."""
    generator = torch.Generator().manual_seed(0)
    drawn = [auroc(*(values[torch.randint(len(values), (len(values),), generator=generator)]
                     for values in (positive, negative))) for _ in range(RESAMPLED)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


class Scores(NamedTuple):
    """One score of all memorised pictures (N,), and of all that were seen once (M,)."""

    memorised: Tensor
    once: Tensor

    def halves(self) -> tuple[Scores, Scores]:
        """Of the first pictures of each kind, and of the last ones: both were drawn at random."""
        middle = [len(values) // 2 for values in self]
        return (Scores(*(values[:half] for values, half in zip(self, middle))),
                Scores(*(values[half:] for values, half in zip(self, middle))))


def judged(memorised: Tensor, references: Tensor, others: Tensor,
           once: Tensor) -> tuple[list[str], dict[str, float]]:
    """The cells of a table's row, and its figures: AUROC against all `once`, flags by the threshold of `references`."""
    area, (low, high) = auroc(memorised, once), auroc_interval(memorised, once)
    shares, cells = [], []
    for values in (memorised, others):
        flags = against_references(values, references, false_positive_rate=RATE).flags
        shares.append(flags.double().mean().item())
        least, most = wilson_interval(int(flags.sum()), len(flags))
        cells.append(f"{shares[-1]:.3f} ({least:.3f} to {most:.3f})")
    return [f"{area:.3f} ({low:.3f} to {high:.3f})", *cells], dict(zip(("auroc", "tpr", "fpr"), (area, *shares)))


def best_of(scores: dict[str, Scores]) -> dict[str, float]:
    """Print which score is the best by one half of the pictures, and what it is worth on the other; its figures."""
    halves = {name: each.halves() for name, each in scores.items()}
    best = max(halves, key=lambda name: auroc(*halves[name][0]))
    chosen, other = halves[best]
    cells, numbers = judged(other.memorised, chosen.once, other.once, other.once)
    print(f"\nthe best of {len(scores)} scores by one half of the pictures, on the other half\n")
    print_table(["score", *JUDGED], [[best, *cells]])
    return {"auroc_best": numbers["auroc"], "tpr_best": numbers["tpr"]}


class World(NamedTuple):
    """What is judged, by kind: clean latents (N, C, H, W) and prompts; and all pictures of the demo set."""

    pictures: list[dataset.Picture]
    images: np.ndarray
    latents: dict[str, Tensor]
    prompts: dict[str, list[str]]


@functools.cache
def world(data: Path, memorised: int, once: int) -> World:
    pictures, images = dataset.load(data)
    split = chosen(pictures, memorised, once)
    rows = {kind: getattr(split, kind) for kind in KINDS}
    return World(pictures, images,
                 {kind: demo_and_judge()[0].latents_of(as_pictures(images[each])).float().cpu()
                  for kind, each in rows.items()},
                 {kind: [pictures[row].caption for row in each] for kind, each in rows.items()})


@functools.cache
def network(checkpoint: Path | None) -> DemoModel:
    return DemoModel(checkpoint) if checkpoint else demo_and_judge()[0]


def measure(task: tuple[bool, Way | str], arguments, checkpoint: Path) -> dict[str, dict]:
    """Of one network, the demo U-Net as it was or after its training, what one way of asking says of both kinds: the
    scores (N,) by their names, or with RESPONSE how far samples move, by strength."""
    learnt, way = task
    given = world(arguments.data, arguments.memorised, arguments.once)
    demo = network(checkpoint if learnt else None)
    if way == RESPONSE:
        direction = style_direction(demo, given.pictures, given.images, STYLE, arguments.pictures)
        found = {kind: responses(demo, demo_and_judge()[1], prompts[: arguments.steered], direction,
                                 arguments.strengths) for kind, prompts in given.prompts.items()}
    elif way == GUIDANCE:
        found = {kind: by_prompts(demo, given.latents[kind], given.prompts[kind]) for kind in KINDS}
    else:
        found = {kind: by_features(demo, latents, way) for kind, latents in given.latents.items()}
    print(f"{'after training' if learnt else 'as it was'}, {way}: done", flush=True)
    return found


def report(title: str, found: dict[Way | str, dict]) -> tuple[dict[str, Scores], dict[str, dict[str, float]]]:
    """Print the table of a network; its scores and figures, by the score's name."""
    rows, scores, figures = [], {}, {}
    for way, measured in found.items():
        if way == RESPONSE:
            continue
        for score in measured["memorised"]:
            own = Scores(*(measured[kind][score] for kind in KINDS))
            says = (["", ", ".join(map(str, GUIDANCE_LEVELS)), "", "1"] if isinstance(way, str) else
                    [way.layers, f"{way.level:g}", way.pooling, str(way.draws)])
            name = score if way in (DEFAULT, GUIDANCE) else "_".join([score, *says])
            name = name.replace("'", "").replace(" ", "_")
            references, others = (half.once for half in own.halves())
            cells, figures[name] = judged(own.memorised, references, others, own.once)
            scores[name] = own
            rows.append([score, *says, *cells])
    first = next(iter(scores.values()))
    print(f"\n{title}: {len(first.memorised)} memorised pictures, {len(first.once)} seen once\n")
    print_table(["score", "layers", "level", "pooling", "draws", *JUDGED], rows)
    return scores, figures


def report_responses(found: dict[bool, dict[str, dict[float, Tensor]]], count: int) -> dict[str, float]:
    """Print how far samples move by strength; the figures at one strength, or the largest."""
    print(f"\nresponse of samples of {count} prompts of each kind, steered to the style {STYLE}\n")
    strengths = sorted(found[True]["memorised"])
    print_table(["strength", *(f"{kind}, {network}" for network in ("after training", "as it was") for kind in KINDS)],
                [[f"{strength:g}", *(with_interval(found[learnt][kind][strength].numpy())
                                     for learnt in (True, False) for kind in KINDS)] for strength in strengths])
    at = STRENGTH if STRENGTH in strengths else strengths[-1]
    return {f"response_{kind}{'' if learnt else '_control'}": found[learnt][kind][at].mean().item()
            for learnt in (True, False) for kind in KINDS}


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], data=ICONS, memorised=dict(type=int, help="pictures that are shown again and again"),
        once=dict(type=int, help="pictures that are shown once"), steps=dict(type=int, help="of the training"),
        batch=dict(type=int, help="of the training"), peak=dict(type=float, default=3e-4, help="highest learning rate"),
        steered=dict(type=int, help="prompts of each kind whose samples are steered; 0: none"),
        strengths=dict(type=float, nargs="+", help="of steering"),
        pictures=dict(type=int, help="of each of the two sets that the direction is made of"),
        workers=dict(type=int, default=2, help="processes that share the scores"))
    fill_in(arguments, memorised=(128, 24), once=(320, 198), steps=(1000, 20), batch=(32, 24), steered=(64, 8),
            strengths=(STRENGTHS, [STRENGTH]), pictures=(64, 24))
    if arguments.once < 2 * fewest_references(RATE):
        raise SystemExit(f"--once is {arguments.once}: at a false positive rate of {RATE:.0%} at least "
                         f"{2 * fewest_references(RATE)} are needed, half of them to set the threshold.")
    pictures, images = dataset.load(arguments.data)
    split = chosen(pictures, arguments.memorised, arguments.once)
    rows = batches(split, arguments.steps, arguments.batch)
    coded = coded_rows(demo_and_judge()[0], images,
                       np.unique(np.concatenate([rows.ravel(), split.memorised, split.once])))
    ways = [DEFAULT, *([] if arguments.quick else OTHERS), GUIDANCE]
    further = [RESPONSE] if arguments.steered else []
    tasks = [(False, way) for way in (DEFAULT, GUIDANCE, *further)] + [(True, way) for way in (*ways, *further)]
    with tempfile.TemporaryDirectory() as folder, processes(arguments.workers) as pool:
        path = memorise(pictures, coded, rows, arguments.data, arguments.keep or Path(folder), arguments.peak)
        results = results_of(pool, functools.partial(measure, checkpoint=path), tasks, arguments)
    found = {learnt: {way: result for (after, way), result in zip(tasks, results) if after == learnt}
             for learnt in (False, True)}
    _, control = report("the demo U-Net as it was", found[False])
    shown = arguments.steps * (arguments.batch // 2) / arguments.memorised
    scores, after = report(f"after {arguments.steps} steps, memorised pictures shown {shown:.0f} times", found[True])
    figures = {f"{measure}_{name}": value for name, numbers in after.items() for measure, value in numbers.items()}
    figures |= {f"auroc_{name}_control": numbers["auroc"] for name, numbers in control.items()}
    figures |= best_of(scores)
    if arguments.steered:
        figures |= report_responses({learnt: each[RESPONSE] for learnt, each in found.items()}, arguments.steered)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
