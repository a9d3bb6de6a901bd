"""The pooling ladder: mental averages of features that are pooled, from the whole map to channel means.

The whole map fixes what is where; channel means say what there is and leave the layout open. One figure walks from one
to the other at each layer: beside the averages (one column a repetition) stand their consistency, the mean distance
between repetitions relative to that of plain samples, representativeness, the distance to plain samples, and sharpness,
all in the feature space of an independent ImageNet network; and how far apart repetitions are pixel by pixel, where
layout tells.
"""
from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from support import (
    GUIDANCE,
    STEPS,
    demo_and_judge,
    fill_in,
    pairwise_distance,
    parse_arguments,
    plain_samples,
    preset_settings,
    print_table,
    processes,
    results_of,
    save_sheet,
    worth,
    write_figures,
)
from torch import Tensor

from mental_averages.dma.alignment import PRESETS, align
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.models import POOLINGS

CONCEPTS = ["cat face", "woman", "house", "red apple"]
LAYERS = ["middle_block", "input_blocks.1"]
MEASURES = ("consistency", "consistency over plain", "representativeness", "sharpness", "pixel distance", "residual")
PLAIN_SEED = 1000  # apart from those of the repetitions


def rungs(side: int) -> list[str]:
    """The poolings of a square map from the whole down to its mean, without those that leave it as it is."""
    grids = sorted((int(name.split("x")[0]), name) for name in POOLINGS if "x" in name)
    return ["none", *(name for cells, name in reversed(grids) if cells < side), "mean"]


def pixel_distance(pictures: Tensor) -> float:
    """Mean absolute difference of two of the pictures (N, H, W, 3), over all pairs."""
    pairs = torch.combinations(torch.arange(len(pictures)))
    return float((pictures[pairs[:, 0]] - pictures[pairs[:, 1]]).abs().mean())


def measure(concept: str, arguments) -> dict:
    """The measures of each layer's rungs under one concept, and pictures to show."""
    demo, judge = demo_and_judge(arguments.transformer)
    on_prompt = functools.partial(demo.with_denoiser, concept, arguments.guidance)
    samples = demo.decode(on_prompt(lambda denoiser, sigmas: plain_samples(
        denoiser, sigmas, demo.shape, 3 * arguments.repetitions, PLAIN_SEED)))
    reference = judge(samples)
    apart = pairwise_distance(reference)
    plain = [apart, 1.0, float("nan"), 1.0, pixel_distance(samples), float("nan")]
    found, shown = {}, {("plain samples", ""): samples[: arguments.repetitions]}

    def side_of(denoiser, sigmas):
        with torch.no_grad():
            return denoiser.features(torch.randn(1, *demo.shape), sigmas[0].item()).shape[-1]

    def averages(denoiser, sigmas):
        settings = [preset_settings(arguments.preset, arguments.count, seed) for seed in range(arguments.repetitions)]
        return [align(denoiser, sigmas, demo.shape, chosen, batch=BatchSize(32)) for chosen in settings]

    for layer in arguments.layers:
        for pooling in rungs(on_prompt(side_of, layer=layer)):
            aligned = on_prompt(averages, layer=layer, pooling=pooling)
            pictures = demo.decode(torch.cat([average.latents for average in aligned]))
            consistency, representativeness, sharp, _ = worth(pictures, judge(pictures), samples, reference)
            found[layer, pooling] = [consistency, consistency / apart, representativeness, sharp,
                                     pixel_distance(pictures),
                                     float(np.mean([average.report.final_residual for average in aligned]))]
            shown[layer, pooling] = pictures
            print(f"{concept}, {layer}, {pooling}: " + " / ".join(f"{value:.3f}" for value in found[layer, pooling]),
                  flush=True)
    return {"found": found, "plain": plain, "shown": shown}


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], concepts=dict(nargs="+", metavar="NAME"), repetitions=dict(type=int),
        count=dict(type=int, help="K"), preset=dict(choices=list(PRESETS)),
        guidance=dict(type=float, default=GUIDANCE), layers=dict(nargs="+", metavar="LAYER"),
        transformer=dict(action="store_true", help="measure the demo transformer instead of the U-Net"),
        workers=dict(type=int, default=2, help="processes that share the concepts"),
        sheet=dict(type=Path, help="write the figure: one row a rung"))
    fill_in(arguments, concepts=(CONCEPTS, CONCEPTS[:2]), repetitions=(4, 2), count=(32, 8),
            preset=("standard", "draft"),
            layers=(["joint_blocks.3"] if arguments.transformer else LAYERS,
                    ["joint_blocks.3"] if arguments.transformer else LAYERS[:1]))
    with processes(arguments.workers) as pool:
        results = results_of(pool, measure, arguments.concepts, arguments)
    places = list(results[0]["found"])
    means = {place: np.mean([result["found"][place] for result in results], axis=0) for place in places}
    plain = np.mean([result["plain"] for result in results], axis=0)
    print(f"\n{', '.join(arguments.concepts)}; {arguments.repetitions} repetitions, K {arguments.count}, preset "
          f"{arguments.preset}, guidance {arguments.guidance:g}, {STEPS} steps\n")

    def shown(values: np.ndarray) -> list[str]:
        return ["-" if np.isnan(value) else f"{value:.4f}" if name == "residual" else f"{value:.3f}"
                for name, value in zip(MEASURES, values)]

    print_table(["layer", "pooling", *MEASURES], [["plain samples", "", *shown(plain)],
                                                  *([*place, *shown(means[place])] for place in places)])
    if arguments.sheet:
        rows = [("plain samples", ""), *places]
        captions = ["plain samples", *(f"{layer}\n{pooling}\nconsistency {means[layer, pooling][1]:.2f} of plain"
                                       for layer, pooling in places)]
        save_sheet([torch.cat([result["shown"][place] for result in results]) for place in rows], captions,
                   f"From the whole feature map to channel means: {', '.join(arguments.concepts)}", arguments.sheet,
                   cell=72, columns=len(arguments.concepts) * arguments.repetitions)
    write_figures({f"{name.replace(' ', '_')}_{layer.replace('.', '_')}_{pooling}": float(value)
                   for (layer, pooling), values in means.items() for name, value in zip(MEASURES, values)},
                  arguments.json)


if __name__ == "__main__":
    main()
