"""Modes on the demo model: whether clusters find known labels, and whether adapters and averages stay in their mode.

First, held-out real pictures with known labels (skin tone, kind) are clustered by AttributeEmbed and by plain CLIP
embeddings. Then K samples of each concept are clustered in the demo CLIP's embeddings. Concepts are left out whose
clusters the judge, a logistic regression in the features of an independent ImageNet network, cannot tell apart: their
modes are not visible. For the largest modes of the others a LoRA and an embedding are trained on the members' own
latents. Measured are the share of samples from new noise that fall into the mode, as judged, and the mental averages of
the modes by the plain prompt, the LoRA, the embedding, and without training: of the mode's own samples, and of the mode
of a mixture in the semantic space that shares most samples with it. Two more are by mean shift: with the LoRA, and from
the mode's samples on. Distances are 1 - cosine in those features;
intervals are 95 % bootstrap intervals over modes. All times are CPU seconds.
"""
from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import _adapters as adapters
import numpy as np
import torch
from _adapters import GUIDANCE
from _labels import label_figures, measure_attribute, print_labels
from _tables import METHODS, TITLES, mode_figures, print_modes
from support import (
    ATTRIBUTES,
    ICONS,
    DemoModel,
    FeatureSpace,
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
    write_figures,
)
from torch import Tensor

from mental_averages.dma import clustering, encoders
from mental_averages.dma.alignment import PRESETS

CONCEPTS = ["heart", "circle", "hand", "square", "diamond", "arrow", "star", "man", "face", "woman"]
# Cohen's kappa of judge and clusters on samples that the judge was not fitted to, from which on modes count as visible.
VISIBLE = 0.75
TARGETS = ("attention", "attention and feed-forward", "all linear and conv")
NEW_SEED = 20_000  # apart from the seeds that modes were found and averages made with
SHOWN = 6
# CPU seconds on one core of the machine that the defaults were chosen on, for the estimate alone.
PICTURE, STEP, SUBSET = 0.8, 0.08, 4.0
AVERAGE = {"draft": 2.5, "standard": 10.0, "paper": 10_000.0}


@functools.cache
def tools(encoder: Path | None) -> tuple[DemoModel, FeatureSpace, encoders.ImageEncoder, float]:
    """The demo model, the judge, the encoder, and the CPU seconds per step that the demo's text encoder would add."""
    demo, judge = demo_and_judge()
    return demo, judge, load_encoder(encoder), adapters.drop_idle_layers(demo)


def classifier_of(features: Tensor, labels: Tensor):
    """A logistic regression from features (N, D) to labels (N,), and its agreement with them on fifths that it was not
    fitted to.

    Agreement is Cohen's kappa, 0 for chance: of unequal modes the largest alone would make a high accuracy.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import cohen_kappa_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    regression = LogisticRegression(C=100.0, max_iter=2000)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(regression, features.numpy(), labels.numpy(), cv=folds)
    return regression.fit(features.numpy(), labels.numpy()), float(cohen_kappa_score(labels.numpy(), predicted))


def overlap(members: tuple[int, ...], inside: np.ndarray) -> float:
    """Intersection over union of members (row numbers) and a mask (N,)."""
    found = np.zeros_like(inside)
    found[list(members)] = True
    return (found & inside).sum() / (found | inside).sum()


def clusters_of(pictures: Tensor, encoder: encoders.ImageEncoder) -> clustering.Clusters:
    embeddings = encoders.embed_images(encoder, pictures)
    settings = clustering.ClusterSettings(2, 5, dimensions=8, minimum_size=max(5, len(pictures) // 8))
    return clustering.cluster(embeddings, settings)


def look_at(concept: str, arguments) -> tuple[list[int], float, float]:
    """Sizes of a concept's modes, how well the judge tells them apart, and how far apart they are for it.

    That distance is the mean silhouette: 0 where modes are as far from each other as their own samples are, 1 at most.
    """
    from sklearn.metrics import silhouette_score

    demo, judge, encoder, _ = tools(arguments.encoder)
    pictures = demo.decode(adapters.samples_of(demo, adapters.plain(demo, concept), GUIDANCE, arguments.count, 0))
    clusters, features = clusters_of(pictures, encoder), judge(pictures)
    sizes = [share.count for share in clusters.shares]
    if len(sizes) < 2:  # too small ones were joined
        return sizes, 0.0, 0.0
    kappa = classifier_of(features, clusters.labels)[1]
    silhouette = silhouette_score(features, clusters.labels, metric="cosine")
    print(f"{concept}: modes of {sizes}, judge {kappa:.2f}, silhouette {silhouette:.2f}", flush=True)
    return sizes, kappa, float(silhouette)


def measure_concept(concept: str, arguments) -> dict:
    """All measures of one concept, in a process of its own."""
    started = time.process_time()
    demo, judge, encoder, encoding_seconds = tools(arguments.encoder)
    seeds = range(arguments.repetitions)
    mixtures = [adapters.mixture(demo, concept, GUIDANCE, arguments.preset, arguments.count, seed) for seed in seeds]
    decoded = [demo.decode(mixture.samples) for mixture in mixtures]
    clusters = clusters_of(decoded[0], encoder)
    features = [judge(pictures) for pictures in decoded]  # (K, D) for each seed
    classifier, kappa = classifier_of(features[0], clusters.labels)
    labels = [clusters.labels.numpy(), *(classifier.predict(found.numpy()) for found in features[1:])]
    members = [features[0][list(rows)] for rows in clusters.members]

    def averages(make: Callable[[int], Tensor], chosen: Sequence[int] = seeds) -> tuple[Tensor, float]:
        begun = time.process_time()
        latents = [make(seed) for seed in chosen]
        return demo.decode(torch.cat(latents)), (time.process_time() - begun) / len(chosen)

    def aligned(source: adapters.Source) -> Callable[[int], Tensor]:
        return lambda seed: adapters.average_of(demo, source, GUIDANCE, arguments.preset, arguments.count, seed)

    prompt = adapters.plain(demo, concept)

    def measures(pictures: Tensor, mode: int, training: float, averaging: float) -> dict:
        found = judge(pictures)  # (seeds, D)
        distances = torch.stack([1 - (found @ rows.T).mean(1) for rows in members], dim=1)  # (seeds, modes)
        others = [other for other in range(len(members)) if other != mode]
        return {"nearest": float((distances.argmin(1) == mode).float().mean()), "own": float(distances[:, mode].mean()),
                "other": float(distances[:, others].min(1).values.mean()),
                "consistency": pairwise_distance(found), "training": training, "averaging": averaging}

    plain_pictures, plain_seconds = averages(aligned(prompt))
    found = []
    for mode in range(min(arguments.modes, len(clusters.members))):
        rows = list(clusters.members[mode])
        shares = {"before": float(np.mean([label == mode for label in labels[1:]]))}
        pictures, costs = {"none": plain_pictures}, {"none": (0.0, plain_seconds)}
        news = {}
        trainings = {"lora": (adapters.with_lora, arguments.steps_lora, arguments.rate_lora, arguments.target),
                     "embedding": (adapters.with_embedding, arguments.steps_embedding, arguments.rate_embedding)}
        for method, (train, *settings) in trainings.items():
            source = train(demo, concept, mixtures[0].samples[rows], *settings)
            news[method] = demo.decode(adapters.samples_of(demo, source, GUIDANCE, arguments.samples, NEW_SEED))
            shares[method] = float((classifier.predict(judge(news[method]).numpy()) == mode).mean())
            pictures[method], seconds = averages(aligned(source))
            costs[method] = source.seconds, seconds
            if method == "lora":
                pictures["lora_shifted"], seconds = averages(
                    lambda seed, source=source: adapters.shifted(demo, source, GUIDANCE, seed))
                costs["lora_shifted"] = source.seconds, seconds
        own = [mixture.samples[torch.from_numpy(label == mode)] for mixture, label in zip(mixtures, labels)]
        enough = [seed for seed in seeds if len(own[seed]) >= 2]
        for method, make in (
                ("members", lambda seed, own=own: adapters.average_of_members(
                    demo, concept, own[seed], GUIDANCE, arguments.preset, seed)),
                ("members_shifted", lambda seed, own=own: adapters.shifted(
                    demo, prompt, GUIDANCE, seed, own[seed], arguments.start_step))):
            pictures[method], seconds = averages(make, enough)
            costs[method] = 0.0, seconds
        # A mixture finds modes of its own: the one that shares most samples with this mode stands for it.
        nearest = [max(range(len(mixture.members)), key=lambda part: overlap(mixture.members[part], label == mode))
                   for mixture, label in zip(mixtures, labels)]
        pictures["mixture"] = demo.decode(torch.cat([mixture.averages[part : part + 1]
                                                     for mixture, part in zip(mixtures, nearest)]))
        costs["mixture"] = 0.0, float(np.mean([mixture.seconds for mixture in mixtures]))
        found.append({
            "concept": concept, "mode": mode, "members": len(rows), "shares": shares, "kappa": kappa,
            "spread": pairwise_distance(members[mode]), "encoding_seconds": encoding_seconds,
            "mixture_overlap": float(np.mean([overlap(mixture.members[part], label == mode)
                                              for mixture, label, part in zip(mixtures, labels, nearest)])),
            "mixture_in_own_mode": float(np.mean([mixture.in_own_mode for mixture in mixtures])),
            "methods": {method: measures(pictures[method], mode, *costs[method]) for method in METHODS},
            "shown": torch.cat([decoded[0][rows[:SHOWN]], *(pictures[method][:2] for method in METHODS),
                                *(news[method][:3] for method in ("lora", "embedding"))])})
        print(f"{concept}, mode {mode} ({len(rows)} of {arguments.count}), judge {kappa:.2f}: " + ", ".join(
            f"share {name} {share:.2f}" for name, share in shares.items()), flush=True)
    print(f"{concept}: {time.process_time() - started:.0f} CPU s, modes of "
          f"{[share.count for share in clusters.shares]}", flush=True)
    return {"modes": found}


def expected_seconds(arguments, concepts: int, candidates: int) -> float:
    """CPU seconds that the run will take, roughly."""
    mode = ((arguments.steps_lora + arguments.steps_embedding) * STEP + 2 * arguments.samples * PICTURE
            + 2 * arguments.repetitions * AVERAGE[arguments.preset])
    concept = (arguments.repetitions * (arguments.count * PICTURE + 4 * AVERAGE[arguments.preset])
               + arguments.modes * mode)
    return candidates * arguments.count * PICTURE + concepts * concept + len(ATTRIBUTES) * arguments.subsets * SUBSET


def main() -> None:
    default = dict(type=int)
    arguments = parse_arguments(
        __doc__.splitlines()[0],
        concepts=dict(default, help=f"how many with visible modes, of twice as many of {', '.join(CONCEPTS)}; 0 for "
                                    "real pictures alone"),
        names=dict(nargs="+", metavar="NAME", help="look at these concepts instead"),
        modes=dict(default, help="adapters for so many of the largest modes of a concept"),
        count=dict(default, help="K"), repetitions=dict(default, help="averages of each kind"),
        samples=dict(default, help="new samples for the share of a mode"),
        start_step=dict(type=int, default=4, help="from which mean shift goes on from a mode's samples"),
        steps_lora=default, steps_embedding=default, preset=dict(choices=list(PRESETS)),
        rate_lora=dict(type=float, help="learning rate; the paper's is 1e-4, for 2000 steps"),
        # The demo U-Net has attention in few places: a LoRA of these alone hardly changes colours.
        target=dict(choices=TARGETS, default=TARGETS[-1], help="layers that the LoRA changes"),
        rate_embedding=dict(type=float, default=1e-2), subsets=dict(default, help="of real pictures"),
        data=ICONS,
        encoder=dict(type=Path, help="folder of another CLIP in place of the demo CLIP"),
        workers=dict(type=int, default=2, help="processes that share the concepts"),
        sheet=dict(type=Path, help="write a sheet of all modes"))
    fill_in(arguments, concepts=(5, 2), modes=(2, 1), count=(64, 40), repetitions=(3, 2), samples=(32, 16),
            steps_lora=(600, 300), steps_embedding=(800, 300), rate_lora=(1e-3, 1e-3), preset=("standard", "draft"),
            subsets=(20, 4))
    check_least(arguments, repetitions=2)  # the share of a mode before training is that of the second one on
    candidates = arguments.names or CONCEPTS[: 2 * arguments.concepts]
    expected = expected_seconds(arguments, arguments.concepts, len(candidates)) / 60
    cores = min(arguments.workers, os.cpu_count() or 1)
    print(f"About {expected:.0f} CPU minutes, {expected / cores:.0f} minutes on idle cores.", flush=True)
    with processes(arguments.workers) as pool:
        real = results_of(pool, measure_attribute, [attribute.name for attribute in ATTRIBUTES], arguments)
        seen = dict(zip(candidates, results_of(pool, look_at, candidates, arguments)))
        concepts = [concept for concept, (_, kappa, _) in seen.items() if kappa >= VISIBLE][: arguments.concepts]
        generated = [mode for result in results_of(pool, measure_concept, concepts, arguments)
                     for mode in result["modes"]]
    print_labels(real, arguments.subsets)
    figures = label_figures(real)
    if seen:
        print(f"\nModes of {arguments.count} samples in the demo CLIP's embeddings, and how well the judge tells them "
              f"apart; measured are the first {arguments.concepts} concepts with a Cohen's kappa of {VISIBLE} or "
              "more.\n")
        print_table(["concept", "samples by mode", "judge's kappa", "silhouette", "measured"],
                    [[concept, ", ".join(map(str, sizes)), f"{kappa:.2f}", f"{silhouette:.2f}",
                      "yes" if concept in concepts else "no"]
                     for concept, (sizes, kappa, silhouette) in seen.items()])
    if generated:
        print_modes(generated, arguments)
        figures |= mode_figures(generated, arguments)
        if arguments.sheet:
            save_sheet([mode["shown"] for mode in generated],
                       [f"{mode['concept']}, mode {mode['mode']}" for mode in generated],
                       f"{SHOWN} members, 2 averages each by {', '.join(TITLES[method] for method in METHODS)}; "
                       "3 new samples each by LoRA, embedding", arguments.sheet, columns=SHOWN + 2 * len(METHODS) + 6)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
