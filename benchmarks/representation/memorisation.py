"""How well scores of memorisation tell pictures that a network has by heart from those that it has seen once.

The ground truth is made here: a copy of the demo U-Net is trained on held-out pictures, half of each batch on some that
are shown over and over, the other half on training pictures among which others stand that are shown once. Both kinds
are drawn from the same pictures at random, one of each concept and style. AUROC is that of a score for the memorised
against those seen once; found is the share of the memorised above the threshold of a false positive rate of 1 %, which
is set on one half of those seen once, and false the share of the other half above it. The same scores on the demo U-Net
as it was, which knows neither, are the control: 0.5. Intervals are over pictures.
"""
from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

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


def judged(memorised: Tensor, once: Tensor) -> tuple[list[str], dict[str, float]]:
    """The cells of a table's row, and its figures."""
    area, (low, high) = auroc(memorised, once), auroc_interval(memorised, once)
    references, others = once[: len(once) // 2], once[len(once) // 2:]
    shares, cells = [], []
    for values in (memorised, others):
        flags = against_references(values, references, false_positive_rate=RATE).flags
        shares.append(flags.double().mean().item())
        least, most = wilson_interval(int(flags.sum()), len(flags))
        cells.append(f"{shares[-1]:.3f} ({least:.3f}-{most:.3f})")
    return [f"{area:.3f} ({low:.3f}-{high:.3f})", *cells], dict(zip(("auroc", "tpr", "fpr"), (area, *shares)))


def report(demo: DemoModel, title: str, latents: dict[str, Tensor], prompts: dict[str, list[str]],
           ways: tuple[Way, ...]) -> dict[str, dict[str, float]]:
    """Print the table of a network; its figures by score."""
    rows, figures = [], {}
    for way in ways:
        found = {kind: by_features(demo, each, way) for kind, each in latents.items()}
        for score in CHANNEL_SCORES:
            cells, numbers = judged(*(found[kind][score] for kind in KINDS))
            rows.append([score, way.layers, f"{way.level:g}", way.pooling, str(way.draws), *cells])
            name = score if way == DEFAULT else "_".join([score, way.layers.replace("'", "").replace(" ", "_"),
                                                          f"{way.level:g}", way.pooling, str(way.draws)])
            figures[name] = numbers
    cells, figures[GUIDANCE] = judged(*(by_prompts(demo, latents[kind], prompts[kind]) for kind in KINDS))
    rows.append([GUIDANCE, "", ", ".join(map(str, GUIDANCE_LEVELS)), "", "1", *cells])
    print(f"\n{title}: {len(latents['memorised'])} memorised pictures, {len(latents['once'])} seen once\n")
    print_table(["score", "layers", "level", "pooling", "draws", "AUROC", f"found at {RATE:.0%}", "false"], rows)
    return figures


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
    control = report(demo, "the demo U-Net as it was", latents, prompts, (DEFAULT,))
    with tempfile.TemporaryDirectory() as folder:
        path = memorise(pictures, coded, rows, arguments.data, arguments.keep or Path(folder), arguments.peak)
        shown = arguments.steps * (arguments.batch // 2) / arguments.memorised
        found = report(DemoModel(path), f"after {arguments.steps} steps, memorised pictures shown {shown:.0f} times",
                       latents, prompts, ways)
    best = max(found, key=lambda name: found[name]["auroc"])
    print(f"\nbest AUROC: {best}, {found[best]['auroc']:.3f}")
    figures = {f"{measure}_{name}": value for name, numbers in found.items() for measure, value in numbers.items()}
    figures |= {f"auroc_{name}_control": numbers["auroc"] for name, numbers in control.items()}
    write_figures(figures | {"auroc_best": found[best]["auroc"],
                             "tpr_best": max(numbers["tpr"] for numbers in found.values())}, arguments.json)


if __name__ == "__main__":
    main()
