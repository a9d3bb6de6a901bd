"""Pictures from what the network represents: of one picture, and of the mean of many, a rival of the mental average.

Samples of a concept are read under an empty prompt, their channel means at the middle block. Reconstructions of the
first one stand beside those that match nothing, and beside other samples: how far the representation reached lies from
the target's (relative), how far the pictures lie from the picture that was read, and how far from one another, over
seeds. Then each set of samples is drawn as one: the reconstruction of its mean representation (the centroids of arXiv
2506.01912) beside a sample, the mean of latents and the average by mean shift. Consistency is the mean distance between
sets and within one (two seeds), representativeness that to the samples of other sets, sharpness is relative to samples.
All distances of pictures are 1 - cosine of the features of an independent ImageNet network. Intervals are over
concepts.
"""
from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import torch
from support import (
    GUIDANCE,
    check_least,
    demo_and_judge,
    fill_in,
    pairwise_distance,
    parse_arguments,
    plain_samples,
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
from torch import Tensor

from mental_averages.dma.baselines import mean_of
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.representation import (
    Reading,
    ReconstructionSettings,
    Representation,
    channel_means,
    distances_to,
    reconstruct,
)
from mental_averages.dma.solvers import AdamToShare

CONCEPTS = ["woman", "red heart", "cat face", "red apple", "grinning face", "house", "tree", "fish"]
LAYER = "middle_block"
LEVELS = "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9"  # as shares of sampling
RECONSTRUCTED, UNMATCHED, OTHERS = "reconstructions", "nothing matched", "other samples"
OF_ONE = ("reached", "to_source", "diversity")
PLAIN, LATENTS, SHIFTED, CENTROID = "plain sample", "mean of latents", "mean shift", "mean representation"
OF_MANY = ("consistency", "within", "representativeness", "sharpness")


def read(denoiser, sigmas: list[float], latents: Tensor, draws: int) -> Representation:
    return channel_means(denoiser, latents, sigmas, Reading(draws), layer=LAYER, batch=BatchSize(32))


def measure(concept: str, arguments) -> dict:
    """What is measured of one concept, and some pictures."""
    demo, judge = demo_and_judge()  # which makes ComfyUI importable

    from mental_averages.nodes.inputs import noise_levels

    levels, solver = noise_levels(demo.model, LEVELS), AdamToShare(learning_rate=2e-2, iterations=arguments.iterations)
    on_concept = functools.partial(demo.with_denoiser, concept, GUIDANCE, layer=None, gradients=False)
    latents = [on_concept(functools.partial(plain_samples, shape=demo.shape, count=arguments.count, seed=seed))
               for seed in range(arguments.sets)]
    samples = torch.cat([demo.decode(each).clamp(0, 1) for each in latents])
    features, owner = judge(samples), torch.arange(arguments.sets).repeat_interleave(arguments.count)

    def drawn(denoiser, _):
        found = [read(denoiser, levels, each, arguments.draws) for each in latents]
        settings = ReconstructionSettings(arguments.seeds, 1, solver=solver)
        idle = dataclasses.replace(settings, solver=dataclasses.replace(solver, iterations=0))
        batch = BatchSize(32)
        one = {name: reconstruct(denoiser, found[0].of([0]), chosen, batch=batch)
               for name, chosen in ((RECONSTRUCTED, settings), (UNMATCHED, idle))}
        two = dataclasses.replace(settings, count=2)
        many = [reconstruct(denoiser, each, dataclasses.replace(two, seed=2 + number), batch=batch).latents
                for number, each in enumerate(found)]
        return found[0], one, many

    first, one, many = demo.with_denoiser("", 1.0, drawn, layer=LAYER)
    own_set = features[1 : arguments.count]
    of_one = {OTHERS: [float(np.mean(distances_to(first.of(slice(1, None)), first.of([0])))),
                       float(1 - (own_set @ features[0]).mean()), pairwise_distance(own_set)]}
    shown = [samples[:1]]
    for name, found in one.items():
        pictures = demo.decode(found.latents).clamp(0, 1)
        seen = judge(pictures)
        of_one[name] = [float(np.mean(distances_to(found.found, found.target))),
                        float(1 - (seen @ features[0]).mean()), pairwise_distance(seen)]
        shown.append(pictures[:3])
    made = {PLAIN: [each[:2] for each in latents], CENTROID: many,
            LATENTS: [mean_of(each) for each in latents],
            SHIFTED: [on_concept(functools.partial(shifted_average, shape=demo.shape, guidance=GUIDANCE, seed=seed,
                                                   count=arguments.count)).latents
                      for seed in range(arguments.sets)]}
    of_many = {}
    for name, sets in made.items():
        pictures = [demo.decode(each).clamp(0, 1) for each in sets]
        firsts = torch.cat([each[:1] for each in pictures])  # (sets, H, W, 3)
        own = torch.arange(arguments.sets)[:, None] == owner
        between, representative, sharp, _ = worth(firsts, judge(firsts), samples, features, own)
        within = (float(np.mean([pairwise_distance(judge(each)) for each in pictures]))
                  if len(pictures[0]) > 1 else float("nan"))
        of_many[name] = [between, within, representative, sharp]
        shown.append(firsts[:2])
    print(f"{concept}: done", flush=True)
    return {"one": of_one, "many": of_many, "shown": torch.cat(shown)}


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], concepts=dict(type=int, help="of the list; all"),
        count=dict(type=int, help="K: samples of a set"), sets=dict(type=int, help="of samples of a concept"),
        seeds=dict(type=int, help="reconstructions of one picture"),
        draws=dict(type=int, help="of noise, over which features are means"),
        iterations=dict(type=int, help="of Adam, at each noise level"),
        workers=dict(type=int, default=2, help="processes that share the concepts"),
        sheet=dict(type=Path, help="write a sheet: a sample, what is drawn of it, and what is drawn of sets"))
    fill_in(arguments, concepts=(len(CONCEPTS), 2), count=(16, 6), sets=(3, 2), seeds=(8, 3), draws=(8, 2),
            iterations=(100, 5))
    check_least(arguments, sets=2, seeds=2, count=3)
    concepts = CONCEPTS[: arguments.concepts]
    with processes(arguments.workers) as pool:
        results = results_of(pool, measure, concepts, arguments)
    figures = {}
    print(f"\n{len(concepts)} concepts, {arguments.sets} sets of {arguments.count} samples, {arguments.seeds} "
          f"reconstructions of one, at most {arguments.iterations} iterations a level\n")
    for kind, names, title in (("one", OF_ONE, "of one picture"), ("many", OF_MANY, "of a set")):
        rows = []
        for way in results[0][kind]:
            columns = np.array([result[kind][way] for result in results]).T  # (measures, concepts)
            rows.append([way, *("" if np.isnan(column).any() else with_interval(column) for column in columns)])
            figures |= {f"{name}_{way.replace(' ', '_')}": float(column.mean())
                        for name, column in zip(names, columns) if not np.isnan(column).any()}
        words = [name.replace("_", " ") for name in names]
        print_table([title, *words], rows)
        print_each(title, words, {concept: result[kind] for concept, result in zip(concepts, results)})
        print()
    if arguments.sheet:
        save_sheet([result["shown"] for result in results], concepts,
                   "a sample, three reconstructions, three without matching; of two sets each: "
                   + ", ".join(results[0]["many"]), arguments.sheet, columns=15)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
