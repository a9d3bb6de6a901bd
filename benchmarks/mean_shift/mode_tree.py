"""The family tree of a concept against known labels and against other ways to its modes.

First, trees of held-out real pictures with known labels (kind, skin tone), grown by the model without a prompt at the
level with as many modes as there are labels, beside Gaussian mixtures of their embeddings by the demo CLIP. Then, of
concepts whose looks a classifier knows (see basin.py), whether the largest branch's average has the most frequent look
of plain samples. Then, of the concepts of docs/modes.md: whether two trees of the same samples by other noises agree,
and whether averages come out in their own modes, as a judge sees it that shares nothing with the demo model: those of
the tree, those that AlignModes makes of the tree's modes without training, and those of AlignMixtureModes in its own.
Consistency is how far averages of the same modes by other noises are apart, relative to the plain samples from each
other; another table has averages by other rules of levels and guidance. All times are CPU seconds; nothing is trained.
"""
from __future__ import annotations

import itertools
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import torch
from _trees import OWN_RULE, RULES, apart, averages_by, best_agreement, grown, in_own_mode, looks_of, mixture_modes
from sklearn.metrics import adjusted_rand_score
from support import (
    ATTRIBUTES,
    DIMENSIONS,
    ICONS,
    LOOKS,
    demo_and_judge,
    fill_in,
    labelled_pictures,
    load_encoder,
    look_teller,
    parse_arguments,
    plain_samples,
    print_table,
    processes,
    results_of,
    save_sheet,
    with_interval,
    write_figures,
)

from mental_averages.dma import clustering, encoders, figures
from mental_averages.dma.mean_shift import tree_agreement

CONCEPTS = ["heart", "circle", "hand", "square", "diamond", "arrow", "star", "man", "face", "woman"]
PLAIN_SEED, OTHER_NOISES = 1000, 1


def measure_labels(task: tuple[str, int], arguments) -> dict:
    """Agreement of a tree and of a mixture with the labels of one subset of real pictures."""
    name, subset = task
    attribute = next(attribute for attribute in ATTRIBUTES if attribute.name == name)
    demo, _ = demo_and_judge(arguments.transformer)
    images, labels = labelled_pictures(attribute, arguments.data)
    generator, count = np.random.default_rng(subset), len(attribute.labels)
    rows = np.concatenate([generator.choice(np.flatnonzero(labels == label), arguments.per_label, replace=False)
                           for label in range(count)])
    images, labels = images[rows], labels[rows]
    family, seconds = grown(demo, "", 1.0, noises=arguments.noises, iterations=arguments.iterations, modes=count,
                            samples=demo.latents_of(images))
    chosen, best = best_agreement(family, labels)
    clusters = clustering.cluster(encoders.embed_images(load_encoder(None), images), clustering.ClusterSettings(
        count, count, dimensions=DIMENSIONS, minimum_size=2))
    found = {"tree": chosen, "tree_best": best, "mixture": adjusted_rand_score(labels, clusters.labels.numpy()),
             "seconds": seconds}
    print(f"{name}, subset {subset}: " + ", ".join(f"{key} {value:.2f}" for key, value in found.items()), flush=True)
    return {"name": name, **found}


def measure_looks(task: tuple[str, str], arguments) -> dict:
    """Features of plain samples, of the largest branch of one concept, its members, and of that branch's average."""
    kind, concept = task
    demo, judge = demo_and_judge(arguments.transformer)
    family, _ = grown(demo, concept, arguments.guidance, count=arguments.count, noises=arguments.noises,
                      iterations=arguments.iterations, modes=arguments.modes)
    plain = demo.with_denoiser(concept, arguments.guidance, lambda denoiser, sigmas: plain_samples(
        denoiser, sigmas, demo.shape, arguments.plain, PLAIN_SEED), layer=None, gradients=False)
    average = demo.decode(family.latents[:1])
    print(f"{kind}, {concept}: modes of {family.tree.levels[family.chosen].sizes}", flush=True)
    members = family.samples[list(family.clusters.members[0])]
    return {"kind": kind, "concept": concept, "plain": judge(demo.decode(plain)).numpy(),
            "members": judge(demo.decode(members)).numpy(), "average": judge(average).numpy(),
            "share": family.clusters.shares[0].share}


def measure_concept(concept: str, arguments) -> dict:
    """Stability, averages in their own mode and times of one concept."""
    demo, judge = demo_and_judge(arguments.transformer)
    settings = dict(noises=arguments.noises, iterations=arguments.iterations, modes=arguments.modes)
    family, seconds = grown(demo, concept, arguments.guidance, count=arguments.count, **settings)
    other, _ = grown(demo, concept, arguments.guidance, samples=family.samples, seed=OTHER_NOISES, **settings)
    stable = tree_agreement(family.report, other.report)
    pictures = demo.decode(family.samples)
    averages = {rule: demo.decode(family.latents if rule == OWN_RULE else averages_by(
        rule, demo, concept, arguments.guidance, family, noises=arguments.noises)) for rule in RULES}
    rules = {rule: looks_of(judge, made, pictures, family.clusters) for rule, made in averages.items()}
    own = {"tree": rules[OWN_RULE].own}
    large = [rows for rows in family.clusters.members[: family.leading] if len(rows) > 1]
    aligned, aligned_again = ([mixture_modes(demo, concept, arguments.guidance, family.samples[list(rows)], modes=1,
                                             seed=seed) for rows in large] for seed in (0, OTHER_NOISES))
    consistency = {"tree": apart(judge, averages[OWN_RULE][: len(large)], demo.decode(averages_by(
        OWN_RULE, demo, concept, arguments.guidance, family, noises=arguments.noises, seed=OTHER_NOISES))[: len(large)],
        pictures), "align_modes": []}
    own["align_modes"] = []
    if large:
        first, second = (demo.decode(torch.cat([latents for latents, _, _ in made]))
                         for made in (aligned, aligned_again))
        own["align_modes"] = in_own_mode(judge, first, pictures, family.clusters)
        consistency["align_modes"] = apart(judge, first, second, pictures)
    latents, clusters, spent = mixture_modes(demo, concept, arguments.guidance, family.samples)
    own["mixture"] = in_own_mode(judge, demo.decode(latents), pictures, clusters)
    print(f"{concept}: modes {family.tree.levels[family.chosen].sizes}, agreement by level from the lowest "
          f"{[round(value, 2) for value in stable]}, " + ", ".join(
              f"{way} {sum(inside)} of {len(inside)}" for way, inside in own.items()), flush=True)
    drawn = dict(zip(family.shown, demo.decode(torch.cat(list(family.shown.values())))))
    return {"concept": concept, "sizes": family.tree.levels[family.chosen].sizes, "stable": stable[family.chosen],
            "own": own, "consistency": consistency, "rules": rules,
            "agreement": adjusted_rand_score(family.clusters.labels.numpy(), clusters.labels.numpy()),
            "seconds": {"tree": seconds, "align_modes": sum(took for _, _, took in aligned), "mixture": spent},
            "tree": figures.mode_tree(family.report, drawn, title=concept)}


def labels_part(pool: Executor, arguments) -> dict[str, float]:
    """Print how trees and mixtures agree with known labels; the figures."""
    tasks = [(attribute.name, subset) for attribute in ATTRIBUTES for subset in range(arguments.subsets)]
    real = results_of(pool, measure_labels, tasks, arguments)
    print(f"\nHeld-out real pictures, {arguments.subsets} subsets of {arguments.per_label} a label; adjusted Rand "
          "index.\n")
    rows, found = [], {}
    for attribute in ATTRIBUTES:
        own = [result for result in real if result["name"] == attribute.name]
        columns = [np.array([result[key] for result in own]) for key in ("tree", "tree_best", "mixture", "seconds")]
        rows.append([attribute.name.replace("_", " "), *map(with_interval, columns[:3]), f"{columns[3].mean():.0f}"])
        found |= {f"ari_{key}_{attribute.name}": float(values.mean())
                  for key, values in zip(("tree", "tree_best", "clip"), columns)}
    print_table(["labels", "tree", "tree, best level", "CLIPGMMClusters", "CPU seconds of the tree"], rows)
    return found


def looks_part(pool: Executor, arguments) -> dict[str, float]:
    """Print whether the largest branch has the most frequent look, in its average and in its members; the figures."""
    tasks = [(kind, concept) for kind, concepts in LOOKS.items() for concept in concepts[: arguments.looks]]
    known = results_of(pool, measure_looks, tasks, arguments)
    tellers = {kind: look_teller(demo_and_judge(arguments.transformer)[1], arguments.data, kind)[0] for kind in LOOKS}
    rows, agrees, members_agree = [], [], []
    for result in known:
        (most, share), (inside, part), (look, _) = (most_frequent(tellers[result["kind"]].predict(result[name]))
                                                    for name in ("plain", "members", "average"))
        agrees.append(look == most)
        members_agree.append(inside == most)
        rows.append([result["kind"], result["concept"], f"{most} {share:.2f}", f"{result['share']:.2f}",
                     f"{inside} {part:.2f}", look])
    print()
    print_table(["looks", "concept", "most frequent look of plain samples", "share of the largest branch",
                 "most frequent look of its members", "look of its average"], rows)
    return {"largest_branch_agrees": float(np.mean(agrees)),
            "members_of_largest_branch_agree": float(np.mean(members_agree))}


def most_frequent(names: np.ndarray) -> tuple[str, float]:
    """The most frequent of names, and its share."""
    found, counted = np.unique(names, return_counts=True)
    return found[counted.argmax()], counted.max() / len(names)


def concepts_part(pool: Executor, arguments) -> dict[str, float]:
    """Print stability, averages in their own modes and times of the concepts of docs/modes.md; the figures."""
    trees = results_of(pool, measure_concept, CONCEPTS[: arguments.concepts], arguments)
    print(f"\n{len(trees)} concepts, {arguments.count} samples each\n")
    ways, found = ("tree", "align_modes", "mixture"), {}
    print_table(["concept", "modes", "two trees agree", "tree and mixture agree", "averages in their own mode: tree",
                 "AlignModes", "AlignMixtureModes", "CPU seconds: tree", "AlignModes", "AlignMixtureModes"],
                [[result["concept"], ", ".join(map(str, result["sizes"])), f"{result['stable']:.2f}",
                  f"{result['agreement']:.2f}", *(f"{sum(result['own'][way])} of {len(result['own'][way])}"
                                                  for way in ways),
                  *(f"{result['seconds'][way]:.0f}" for way in ways)] for result in trees])
    for way, name in zip(ways, ("averages_in_own_mode", "averages_in_own_mode_align_modes",
                                "averages_in_own_mode_mixture")):
        inside = [each for result in trees for each in result["own"][way]]
        found[f"seconds_{way}"] = float(np.mean([result["seconds"][way] for result in trees]))
        if inside:  # a concept with one mode of two samples or more says nothing
            found[name] = float(np.mean(inside))
    for way in ("tree", "align_modes"):
        apart_by_mode = [each for result in trees for each in result["consistency"][way]]
        if apart_by_mode:
            found[f"consistency_{way}"] = float(np.mean(apart_by_mode))
            print(f"\nconsistency, {way.replace('_', ' ')}: {found[f'consistency_{way}']:.3f}")
    rows = []
    for rule in RULES:
        own, distances, ratios = (list(itertools.chain(*values))
                                  for values in zip(*(result["rules"][rule] for result in trees)))
        rows.append([f"{rule.levels}, {rule.share:g}", f"{sum(own)} of {len(own)}", f"{np.mean(distances):.3f}",
                     f"{np.mean(ratios):.2f}"])
    print()
    print_table(["levels, share of guidance", "in their own mode", "distance to own samples", "sharpness"], rows)
    found["tree_stability"] = float(np.mean([result["stable"] for result in trees]))
    if arguments.sheet:
        save_sheet([result["tree"] for result in trees], [result["concept"] for result in trees], "family trees",
                   arguments.sheet, cell=640, columns=1)
    return found


PARTS: dict[str, Callable[[Executor, Namespace], dict[str, float]]] = {
    "labels": labels_part, "looks": looks_part, "concepts": concepts_part}


def main() -> None:
    size = dict(type=int)
    arguments = parse_arguments(
        __doc__.splitlines()[0], data=ICONS, guidance=dict(type=float, default=3.0),
        count=dict(size, help="samples of a tree"), noises=dict(size), iterations=dict(size),
        modes=dict(type=int, default=2, help="the level that is taken has so many modes of two samples or more"),
        concepts=dict(size, help="of docs/modes.md"), looks=dict(size, help="concepts of each kind of look"),
        plain=dict(size, help="plain samples whose looks are counted"),
        subsets=dict(size, help="of real pictures"), per_label=dict(size, help="pictures of a label in a subset"),
        parts=dict(nargs="+", choices=list(PARTS), help="what is measured"),
        transformer=dict(action="store_true", help="the demo transformer in place of the demo U-Net"),
        workers=dict(type=int, default=2), sheet=dict(type=Path, help="write all trees"))
    fill_in(arguments, count=(48, 8), noises=(16, 4), iterations=(30, 4), concepts=(10, 1), looks=(10, 1),
            plain=(128, 8), subsets=(4, 1), per_label=(12, 2), parts=(list(PARTS), list(PARTS)))
    found: dict[str, float] = {}
    with processes(arguments.workers) as pool:
        for part in arguments.parts:
            found |= PARTS[part](pool, arguments)
    write_figures(found, arguments.json)


if __name__ == "__main__":
    main()
