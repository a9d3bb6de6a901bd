"""The paper's table on a model that anyone can run: every rival and every average, from the same samples.

For each concept and repetition K samples are drawn; every method makes of them, or with as many noises of the same
seed, what is to stand for the concept. Distances are 1 - cosine in the features of an independent ImageNet network.
Consistency between ensembles is that between the repetitions' pictures, within an ensemble that between two pictures
of one repetition, where a method draws more than one. Representativeness is the distance from a picture to the plain
samples of the other repetitions, so that no method is measured by the samples that it was made of: to each of them, and
to their mean. Sharpness is the variance of the Laplacian beside that of plain samples. CLIP-T is the cosine of picture
and prompt by the demo CLIP, by which best of K chooses and the medoid is sought: their own CLIP-T flatters them.
Seconds are those of one decoded picture, for every method alike: the median over the repetitions, with all that the
method takes but the samples, whose seconds are said beside. Those of the paper's recipe were noted when its runs were
made. Intervals are 95 % bootstrap intervals over concepts.
"""
from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from _methods import ALIGNED_MEAN, D4M, FROM_SAMPLES, KEYS, MGD3, RECIPE, STANDARD, VAE, Made, Prompt, made_of
from support import (
    GUIDANCE,
    check_least,
    demo_and_judge,
    fill_in,
    load_encoder,
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
from torch import Tensor

from mental_averages.dma.metrics import distance_to_mean, representativeness

CONCEPTS = ["woman", "red heart", "cat face", "dog face", "red apple", "grinning face", "health worker", "house",
            "pizza", "rocket", "tree", "fish"]
NAMES = ("consistency", "within", "representativeness", "to_mean", "sharpness", "clip_t", "seconds")
HEADINGS = ["consistency between ensembles", "within an ensemble", "representativeness: to samples", "to their mean",
            "sharpness", "CLIP-T", "seconds"]
# Main results of arXiv 2603.29239, by the method here that stands for the one there: consistency by CLIP and DreamSim,
# representativeness by CLIP, ImageReward.
PAPER = {ALIGNED_MEAN: ("GANgealing", 0.0, 0.0, 0.386, -0.684), VAE: ("Avg VAE", 0.0, 0.0, 0.473, -2.262),
         D4M: ("D4M", 0.168, 0.274, 0.197, 0.823), MGD3: ("MGD3", 0.180, 0.319, 0.195, 0.755),
         STANDARD: ("DMA", 0.031, 0.032, 0.179, 1.002)}
CONSISTENCY, REPRESENTATIVENESS = 1, 3  # places in these rows


def measure_concept(concept: str, arguments) -> dict:
    """All measures of one concept, in a process of its own."""
    started = time.monotonic()
    demo, judge = demo_and_judge()
    prompt = Prompt.of(concept, load_encoder(None))
    repetitions, references = [], []
    for seed in range(arguments.repetitions):
        found, samples = made_of(demo, prompt, seed, arguments)
        repetitions.append(found)
        references.append(samples)
    features = [judge(samples.pictures) for samples in references]
    plain_sharpness = float(sharpness(torch.cat([samples.pictures for samples in references])).mean())
    measured, shown = {}, {}
    for method in KEYS.values():
        seeds = [seed for seed, found in enumerate(repetitions) if method in found]
        if not seeds:
            continue
        made = [repetitions[seed][method] for seed in seeds]
        measured[method] = measure(made, seeds, features, plain_sharpness, judge, prompt)
        shown[method] = torch.cat([each.picture for each in made[:2]])
    print(f"{concept}: {time.monotonic() - started:.0f} s, " + ", ".join(
        f"{method} {values['consistency']:.3f}/{values['representativeness']:.3f}"
        for method, values in measured.items()), flush=True)
    return {"measured": measured, "shown": shown,
            "samples": float(np.median([samples.seconds for samples in references]))}


def measure(made: list[Made], seeds: list[int], references: list[Tensor], plain_sharpness: float, judge,
            prompt: Prompt) -> dict[str, float]:
    """The measures of what a method made for each of these seeds; references are features (K, D) of each seed's plain
    samples."""
    firsts = torch.cat([each.picture for each in made])  # (R, H, W, 3)
    found = judge(firsts)
    owner = torch.cat([torch.full((len(rows),), number) for number, rows in enumerate(references)])  # (N,)
    own = torch.tensor(seeds)[:, None] == owner  # (R, N)
    samples = torch.cat(references)
    to_mean = [distance_to_mean(feature[None], samples[~mine]).value for feature, mine in zip(found, own)]
    several = [judge(torch.cat([each.picture, each.another])) for each in made if each.another is not None]
    return {"consistency": pairwise_distance(found) if len(found) > 1 else float("nan"),
            "within": float(np.mean([pairwise_distance(rows) for rows in several])) if several else float("nan"),
            "representativeness": representativeness(found, samples, own=own).value, "to_mean": float(np.mean(to_mean)),
            "sharpness": float(sharpness(firsts).mean()) / plain_sharpness,
            "clip_t": float((prompt.pictures(firsts) @ prompt.embedding.T).mean()),
            "seconds": float(np.median([each.seconds for each in made]))}


def order_agrees(found: dict[str, float], place: int) -> float:
    """Spearman's rank correlation, over the methods that both have, of a measure here with one of the paper's."""
    from scipy.stats import spearmanr

    return float(spearmanr([found[method] for method in PAPER], [row[place] for row in PAPER.values()]).statistic)


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], count=dict(type=int, help="K"), repetitions=dict(type=int), concepts=dict(type=int),
        guidance=dict(type=float, default=GUIDANCE,
                      help="of samples, presets and mean shift; prototypes have their own"),
        d4m_negative=dict(default="", help="D4M's negative prompt; its authors write 'cartoon, anime, painting', of "
                                           "which the demo model knows no word"),
        workers=dict(type=int, default=2, help="processes that share the concepts"),
        sheet=dict(type=Path, help="write a sheet of all methods, two seeds each"))
    fill_in(arguments, count=(32, 16), repetitions=(10, 3), concepts=(12, 2))
    check_least(arguments, repetitions=2)  # samples of other repetitions are what a picture is measured by
    concepts = CONCEPTS[: arguments.concepts]
    with processes(arguments.workers) as pool:
        results = results_of(pool, measure_concept, concepts, arguments)
    compared = [method for method in KEYS.values() if any(method in result["measured"] for result in results)]
    measures = {method: {name: np.array([result["measured"][method][name] for result in results
                                         if method in result["measured"]]) for name in NAMES} for method in compared}
    print(f"\nK {arguments.count}, {arguments.repetitions} repetitions, {len(concepts)} concepts, guidance "
          f"{arguments.guidance:g}\n")
    print_table(["method", *HEADINGS],
                [[method, *("" if np.isnan(measures[method][name]).all() else with_interval(measures[method][name])
                            for name in NAMES)] for method in compared])
    samples = np.array([result["samples"] for result in results])
    print(f"\nThe {arguments.count} samples that {', '.join(FROM_SAMPLES)} need besides take {with_interval(samples)} "
          "seconds.")
    if RECIPE in compared:
        print(f"\n{RECIPE}: complete runs at K 32, of {len(measures[RECIPE]['consistency'])} concepts and their first "
              "seeds alone")
    means = {method: {name: float(np.mean(measures[method][name])) for name in NAMES} for method in compared}
    print("\nbeside the paper (other model, other concepts, other features)\n")
    print_table(["method", "stands for", "consistency here", "CLIP", "DreamSim", "representativeness here", "CLIP",
                 "ImageReward"],
                [[method, name, f"{means[method]['consistency']:.3f}", f"{clip:.3f}", f"{dreamsim:.3f}",
                  f"{means[method]['representativeness']:.3f}", f"{representative:.3f}", f"{reward:.3f}"]
                 for method, (name, clip, dreamsim, representative, reward) in PAPER.items()])
    if arguments.sheet:
        blank = torch.ones_like(next(iter(results[0]["shown"].values())))  # where a method has no picture of a concept
        rows = [torch.cat([torch.cat([result["shown"].get(method, blank[:0]), blank])[:2] for method in compared])
                for result in results]
        save_sheet(rows, concepts, "", arguments.sheet, headings=[method for method in compared for _ in range(2)])
    keys = {key: method for key, method in KEYS.items() if method in compared}
    several = {key: method for key, method in keys.items() if not np.isnan(means[method]["within"])}
    write_figures({
        **{f"{name}_{key}": means[method][name] for name in ("consistency", "representativeness", "sharpness", "clip_t")
           for key, method in keys.items()},
        **{f"representativeness_to_mean_{key}": means[method]["to_mean"] for key, method in keys.items()},
        **{f"consistency_within_{key}": means[method]["within"] for key, method in several.items()},
        **{f"seconds_{key}": means[method]["seconds"] for key, method in keys.items()},
        "seconds_samples": float(samples.mean()),
        "order_agrees": order_agrees({method: means[method]["representativeness"] for method in PAPER},
                                     REPRESENTATIVENESS),
        "order_agrees_consistency": order_agrees({method: means[method]["consistency"] for method in PAPER},
                                                 CONSISTENCY),
    }, arguments.json)


if __name__ == "__main__":
    main()
