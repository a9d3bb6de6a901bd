"""Whether the probe of layers chooses well: its scores for every layer beside what averages made with that layer are \
worth.

For each layer, concept and repetition a mental average is made with a preset. Measures, in the feature space of an
independent ImageNet network: consistency is the mean distance (1 - cosine) between the repetitions' pictures,
representativeness the mean distance from such a picture to plain samples of the concept, sharpness the variance of the
Laplacian relative to those. Layers are ranked by each of the three (the mean over concepts) and by the mean of the
three ranks. Consistency alone would be misleading: a layer that hardly sees the prompt matches latents to their pixel
mean, which repeats best and shows least. How well other rules than the score would rank the layers is shown beside it.

The model is the demo U-Net, or the demo transformer with --transformer.
"""
from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from support import (
    GUIDANCE,
    SCHEDULER,
    STEPS,
    demo_and_judge,
    fill_in,
    interval,
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

import pack
from mental_averages.dma.alignment import PRESETS, align
from mental_averages.dma.baselines import zero_latent_sample
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.hspace import LayerReport, LayerScore

# The first are measured end to end, those whose averages differ most from the zero-latent sample. All are the probe's
# prompts.
CONCEPTS = ["pizza", "tree", "woman", "house", "fish", "cat face", "red apple", "rocket"]
MEASURES = ("consistency", "representativeness", "sharpness")
LARGER_IS_BETTER = np.array([-1, -1, 1])
PLAIN_SEED = 1000  # apart from those of the repetitions


def probe(arguments) -> LayerReport:
    """The report of the node itself, measured anew, under all prompts."""
    model, _ = demo_and_judge(arguments.transformer)
    from mental_averages.nodes.hspace import SemanticLayerProbe  # ComfyUI is there only now

    prompts = {f"prompts{number}": pack.encode_prompt(model.clip, concept)
               for number, concept in enumerate(CONCEPTS[: arguments.prompts])}
    with torch.inference_mode():
        return SemanticLayerProbe.execute(
            model.model, prompts, pack.encode_prompt(model.clip, ""), {"samples": torch.zeros(1, *model.shape)},
            arguments.samples, arguments.levels, STEPS, arguments.guidance, arguments.scheduler, arguments.seed, "none",
            layers=arguments.layers, cached=False).args[3]


def end_to_end(concept: str, arguments, layers: list[str]) -> dict:
    """The three measures of every layer (L, 3), and pictures to show, of one concept."""
    model, judge = demo_and_judge(arguments.transformer)
    on_prompt = functools.partial(model.with_denoiser, concept, arguments.guidance, scheduler=arguments.scheduler)

    def averages(denoiser, sigmas):
        settings = [preset_settings(arguments.preset, arguments.count, seed) for seed in range(arguments.repetitions)]
        return torch.cat([align(denoiser, sigmas, model.shape, chosen, batch=BatchSize(32)).latents
                          for chosen in settings])

    samples = model.decode(on_prompt(lambda denoiser, sigmas: plain_samples(
        denoiser, sigmas, model.shape, 3 * arguments.count, PLAIN_SEED)))
    zero = model.decode(on_prompt(lambda denoiser, sigmas: zero_latent_sample(denoiser, sigmas, model.shape)))
    reference, zero = judge(samples), judge(zero)
    measured, to_zero, shown = [], [], [samples[:4]]
    for layer in layers:
        pictures = model.decode(on_prompt(averages, layer=layer))
        features = judge(pictures)
        measured.append(worth(pictures, features, samples, reference)[:3])
        to_zero.append(float(1 - (features @ zero.T).mean()))
        shown.append(pictures[:2])
        print(f"{concept}, {layer}: " + " / ".join(f"{value:.3f}" for value in measured[-1]), flush=True)
    return {"measured": measured, "to_zero": to_zero, "plain": pairwise_distance(reference), "shown": torch.cat(shown)}


def separation(layer: LayerScore, power: float = 0.0) -> float:
    """asinh of variance between / within, times the dimension to a power, mean over noise levels: a logarithm that
    takes 0."""
    dimension = [np.inf if value is None else value for value in layer.dimension]
    return float(np.mean([np.arcsinh(ratio * size**power) for ratio, size in zip(layer.ratio, dimension)]))


RULES = {
    "score": lambda layer: layer.score,
    "separation alone": separation,
    "little left after matching": lambda layer: -float(np.mean(layer.left)),
    "low dimension": lambda layer: -float(np.mean([np.inf if value is None else value for value in layer.dimension])),
    "separation, divided by the root of the dimension": functools.partial(separation, power=-0.5),
    "separation, times the root of the dimension": functools.partial(separation, power=0.5),
}


def ranked(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, the largest value, along the first axis; equal values share theirs."""
    from scipy.stats import rankdata

    return rankdata(-values, axis=0)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation; 0 where one of the two is the same for all layers."""
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic) if np.ptp(one) and np.ptp(other) else 0.0


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], prompts=dict(type=int, help="prompts of the probe"),
        samples=dict(type=int, default=8, help="its samples per prompt"),
        levels=dict(default="0, 0.2", help="its noise levels"), seed=dict(type=int, default=0, help="its seed"),
        layers=dict(default="", help="only these layers, as in the node"),
        concepts=dict(type=int, help="concepts measured end to end"),
        repetitions=dict(type=int), count=dict(type=int, help="K"),
        preset=dict(choices=list(PRESETS), default="standard"), guidance=dict(type=float, default=GUIDANCE),
        scheduler=dict(default=SCHEDULER),
        transformer=dict(action="store_true", help="measure the demo transformer instead of the U-Net"),
        workers=dict(type=int, default=2, help="processes that share the concepts"),
        sheet=dict(type=Path, help="write a sheet of averages by layer"))
    fill_in(arguments, prompts=(8, 4), concepts=(6, 2), repetitions=(6, 3), count=(16, 6))
    concepts = CONCEPTS[: arguments.concepts]
    with processes(arguments.workers) as pool:
        report = pool.submit(probe, arguments).result()
        print(report.table(), f"\n\nThe probe took {report.seconds:.0f} s.\n", flush=True)
        layers = [layer.name for layer in report.layers]
        results = results_of(pool, functools.partial(end_to_end, layers=layers), concepts, arguments)

    measured = np.array([result["measured"] for result in results])  # (concepts, L, 3)
    good = measured.mean(0) * LARGER_IS_BETTER  # (L, 3)
    ranks, overall = ranked(good), ranked(-ranked(good).mean(1))
    scores = np.array([layer.score for layer in report.layers])
    print(f"\n{len(concepts)} concepts, {arguments.repetitions} repetitions, K {arguments.count}, preset "
          f"{arguments.preset}, guidance {arguments.guidance}; distance between plain samples "
          f"{np.mean([result['plain'] for result in results]):.3f}\n")
    to_zero = np.mean([result["to_zero"] for result in results], axis=0)
    print_table(["layer", "score", *MEASURES, "distance to the zero-latent sample", "rank by each", "rank"],
                [[f"**{name}**" if name == report.chosen else name, f"{score:.3f}",
                  *(f"{value:.3f}" for value in values), f"{zero:.3f}", " / ".join(f"{rank:g}" for rank in row),
                  f"{place:g}"]
                 for name, score, values, zero, row, place in zip(layers, scores, measured.mean(0), to_zero, ranks,
                                                                  overall)])
    print("\nRank correlation over layers, 1 where the rule orders them as the measure does:\n")
    rules = {name: np.array([rule(layer) for layer in report.layers]) for name, rule in RULES.items()}
    print_table(["rule", *MEASURES, "mean rank", "its three best layers"],
                [[name, *(f"{correlation(values, good[:, number]):+.2f}" for number in range(3)),
                  f"{correlation(values, -overall):+.2f}",
                  ", ".join(layers[index] for index in np.argsort(-values)[:3])]
                 for name, values in rules.items()])
    best, default = layers.index(report.chosen), len(layers) - 1
    if "middle_block" in layers:
        default = layers.index("middle_block")
    print(f"\n{report.chosen} minus {layers[default]}, 95 % intervals over concepts: " + "; ".join(
        "{} {:+.3f} ({:+.3f} to {:+.3f})".format(name,
                                                 *interval(measured[:, best, number] - measured[:, default, number]))
        for number, name in enumerate(MEASURES)))
    if arguments.sheet:
        title = f"4 plain samples, then 2 averages of each layer: {', '.join(layers)}"
        shown = [result["shown"] for result in results]
        save_sheet(shown, concepts, title, arguments.sheet, cell=64, columns=4 + 2 * len(layers))
    compared = (("chosen", best), ("default", default), ("last", len(layers) - 1))
    figures = {f"{name}_{kind}": measured[:, index, number].mean() for kind, index in compared
               for number, name in enumerate(MEASURES)}
    write_figures({
        "layer_choice_rank": overall[best], "layer_default_rank": overall[default], "layer_last_rank": overall[-1],
        "layers": len(layers),
        "layer_margin": 0.0 if report.margin is None else report.margin / max(report.margin_error, 1e-12),
        "score_correlation": correlation(scores, -overall),
        **{f"score_correlation_{name}": correlation(scores, good[:, number]) for number, name in enumerate(MEASURES)},
        **figures, "probe_seconds": report.seconds}, arguments.json)


if __name__ == "__main__":
    main()
