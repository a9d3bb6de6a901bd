"""How well scores of memorisation tell pictures that a network has by heart from those that it has seen once.

The ground truth is made here: a copy of the demo U-Net is trained on held-out pictures, half of each batch on some that
are shown over and over, the other half on training pictures among which others stand that are shown once. Both kinds
are drawn from the same pictures at random, one of each concept and style. AUROC is that of a score for the memorised
against those seen once; found is the share of the memorised above the threshold of a false positive rate of 1 %, which
is set on one half of those seen once, and false the share of the other half above it. The same scores on the demo U-Net
as it was, which knows neither, are the control: 0.5. Intervals are over pictures. The best score (`auroc_best`,
`tpr_best`) is the one with the highest AUROC on one half of the pictures of both kinds, and what it is worth is read
off the other half, so that the choice among many does not flatter it.
"""
from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from _memorising import batches, chosen, coded_rows, memorise
from support import ICONS, DemoModel, fill_in, parse_arguments, print_table, write_figures
from torch import Tensor

import dataset
from mental_averages.dma.representation import (
    CHANNEL_SCORES,
    GUIDANCE,
    MAXIMUM,
    Reading,
    channel_scores,
    guidance_difference,
    means_of_layers,
)
from mental_averages.dma.statistics import against_references, auroc, fewest_references, wilson_interval

RATE = 0.01
RESAMPLED = 1000
TOGETHER = 32  # prompts in one batch
GUIDANCE_LEVELS = [0.1, 0.3, 0.5, 0.7, 0.9]
SOURCE, MIDDLE, ALL = "the source's", "middle_block", "all"
KINDS = ("memorised", "once")
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
    from mental_averages.nodes import comfyui

    names = comfyui.layer_names(demo.model)
    decoder = [name for name in names if name.startswith("output_blocks")]
    return {SOURCE: decoder[: max(1, len(decoder) // 3)], MIDDLE: [MIDDLE], ALL: names}[where]


def sigmas_at(demo: DemoModel, shares: list[float]) -> list[float]:
    from mental_averages.nodes.inputs import noise_levels

    return noise_levels(demo.model, " ".join(map(str, shares)))


def by_features(demo: DemoModel, latents: Tensor, way: Way) -> dict[str, Tensor]:
    layers = layers_of(demo, way.layers)
    found = demo.with_denoiser("", 1.0, lambda denoiser, sigmas: means_of_layers(
        denoiser, latents, sigmas_at(demo, [way.level]), layers, Reading(way.draws, 0, way.pooling)), layer=layers[-1],
        gradients=False)
    return channel_scores(list(found.values()))


def by_prompts(demo: DemoModel, latents: Tensor, prompts: list[str]) -> Tensor:
    """How much each picture's own prompt changes what is predicted (N,)."""
    sigmas, found = sigmas_at(demo, GUIDANCE_LEVELS), []
    for first in range(0, len(prompts), TOGETHER):
        rows = slice(first, first + TOGETHER)

        def ask(denoiser, _, rows: slice = rows) -> Tensor:
            return guidance_difference(denoiser.with_guidance(1.0), denoiser.with_guidance(0.0), latents[rows], sigmas)

        found.append(demo.with_denoiser(prompts[rows], 1.0, ask, layer=None, gradients=False,
                                        latents=len(prompts[rows])))
    return torch.cat(found)


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
        cells.append(f"{shares[-1]:.3f} ({least:.3f}-{most:.3f})")
    return [f"{area:.3f} ({low:.3f}-{high:.3f})", *cells], dict(zip(("auroc", "tpr", "fpr"), (area, *shares)))


def best_of(scores: dict[str, Scores]) -> dict[str, float]:
    """Print which score is the best by one half of the pictures, and what it is worth on the other; its figures."""
    halves = {name: each.halves() for name, each in scores.items()}
    best = max(halves, key=lambda name: auroc(*halves[name][0]))
    chosen, other = halves[best]
    cells, numbers = judged(other.memorised, chosen.once, other.once, other.once)
    print(f"\nthe best of {len(scores)} scores by one half of the pictures, on the other half\n")
    print_table(["score", *JUDGED], [[best, *cells]])
    return {"auroc_best": numbers["auroc"], "tpr_best": numbers["tpr"]}


def report(demo: DemoModel, title: str, latents: dict[str, Tensor], prompts: dict[str, list[str]],
           ways: tuple[Way, ...]) -> tuple[dict[str, Scores], dict[str, dict[str, float]]]:
    """Print the table of a network; its scores and figures, by the score's name."""
    rows, scores, figures = [], {}, {}

    def judge(name: str, own: Scores, *says: str) -> None:
        references, others = (half.once for half in own.halves())
        cells, figures[name] = judged(own.memorised, references, others, own.once)
        scores[name] = own
        rows.append([*says, *cells])

    for way in ways:
        found = {kind: by_features(demo, each, way) for kind, each in latents.items()}
        for score in CHANNEL_SCORES:
            name = score if way == DEFAULT else "_".join([score, way.layers.replace("'", "").replace(" ", "_"),
                                                          f"{way.level:g}", way.pooling, str(way.draws)])
            judge(name, Scores(*(found[kind][score] for kind in KINDS)), score, way.layers, f"{way.level:g}",
                  way.pooling, str(way.draws))
    judge(GUIDANCE, Scores(*(by_prompts(demo, latents[kind], prompts[kind]) for kind in KINDS)), GUIDANCE, "",
          ", ".join(map(str, GUIDANCE_LEVELS)), "", "1")
    print(f"\n{title}: {len(latents['memorised'])} memorised pictures, {len(latents['once'])} seen once\n")
    print_table(["score", "layers", "level", "pooling", "draws", *JUDGED], rows)
    return scores, figures


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], data=ICONS, memorised=dict(type=int), once=dict(type=int), steps=dict(type=int),
        batch=dict(type=int), peak=dict(type=float, default=3e-4, help="highest learning rate"))
    fill_in(arguments, memorised=(256, 24), once=(400, 198), steps=(2000, 20), batch=(32, 24))
    if arguments.once < 2 * fewest_references(RATE):
        raise SystemExit(f"--once is {arguments.once}: at a false positive rate of {RATE:.0%} at least "
                         f"{2 * fewest_references(RATE)} are needed, half of them to set the threshold.")
    demo = DemoModel()
    pictures, images = dataset.load(arguments.data)
    split = chosen(pictures, arguments.memorised, arguments.once)
    rows = batches(split, arguments.steps, arguments.batch)
    coded = coded_rows(demo, images, np.unique(np.concatenate([rows.ravel(), split.memorised, split.once])))
    latents = {kind: coded[torch.from_numpy(getattr(split, kind))] for kind in KINDS}
    prompts = {kind: [pictures[row].caption for row in getattr(split, kind)] for kind in KINDS}
    ways = (DEFAULT,) if arguments.quick else (DEFAULT, *OTHERS)
    _, control = report(demo, "the demo U-Net as it was", latents, prompts, (DEFAULT,))
    with tempfile.TemporaryDirectory() as folder:
        path = memorise(pictures, coded, rows, arguments.data, arguments.keep or Path(folder), arguments.peak)
        shown = arguments.steps * (arguments.batch // 2) / arguments.memorised
        title = f"after {arguments.steps} steps, memorised pictures shown {shown:.0f} times"
        scores, found = report(DemoModel(path), title, latents, prompts, ways)
    figures = {f"{measure}_{name}": value for name, numbers in found.items() for measure, value in numbers.items()}
    figures |= {f"auroc_{name}_control": numbers["auroc"] for name, numbers in control.items()}
    write_figures(figures | best_of(scores), arguments.json)


if __name__ == "__main__":
    main()
