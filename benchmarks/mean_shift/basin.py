"""Is an average the most frequent look of its concept?

Plain samples of a concept fall into looks with certain shares: seven drawing styles, five skin tones. A classifier that
learnt the looks from real demo pictures (logistic regression on the features of an EfficientNet-Lite0) tells the shares
of the looks among plain samples, and the look of each average. If the average by mean shift ends in the basin with the
most mass, its look is the most frequent one. How often the classifier is right is measured on held-out pictures, and on
samples whose prompt names the look.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from support import (
    ATTRIBUTES,
    GUIDANCE,
    ICONS,
    LOOKS,
    STYLE,
    demo_and_judge,
    fill_in,
    look_teller,
    pairwise_distance,
    parse_arguments,
    plain_samples,
    preset_settings,
    print_table,
    processes,
    results_of,
    save_sheet,
    shifted_average,
    with_interval,
    write_figures,
)

import dataset
from mental_averages.dma.alignment import align
from mental_averages.dma.execution import BatchSize

SHIFTED, ALIGNED = "mean shift", "aligned average"
PLAIN_SEED = 1000


def draw(task: tuple[str, str], arguments) -> dict:
    """Features of a concept's plain samples and averages, some pictures, and features of samples that name a look."""
    kind, concept = task
    demo, judge = demo_and_judge(arguments.transformer)

    def run(denoiser, sigmas):
        plain = plain_samples(denoiser, sigmas, demo.shape, arguments.samples, PLAIN_SEED)
        shifted = [shifted_average(denoiser, sigmas, demo.shape, arguments.guidance, seed).latents
                   for seed in range(arguments.repetitions)]
        aligned = [align(denoiser, sigmas, demo.shape, preset_settings("standard", 32, seed),
                         batch=BatchSize(32)).latents for seed in range(arguments.repetitions)]
        return {"plain": plain, SHIFTED: torch.cat(shifted), ALIGNED: torch.cat(aligned)}

    pictures = {name: demo.decode(latents)
                for name, latents in demo.with_denoiser(concept, arguments.guidance, run).items()}
    named = {}
    words = [icons.style for icons in dataset.ICON_SETS] if kind == STYLE else \
        [f"{tone} skin tone" for tone in ATTRIBUTES[0].labels]
    for word in words:
        latents = demo.with_denoiser(f"{concept} {word}", arguments.guidance, lambda denoiser, sigmas: plain_samples(
            denoiser, sigmas, demo.shape, arguments.named, PLAIN_SEED), layer=None, gradients=False)
        named[word.removesuffix(" skin tone")] = judge(demo.decode(latents)).numpy()
    print(f"{kind}, {concept}: done", flush=True)
    return {"features": {name: judge(rows).numpy() for name, rows in pictures.items()}, "named": named,
            "shown": torch.cat([pictures["plain"][:6], pictures[ALIGNED][:2], pictures[SHIFTED][:2]])}


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], data=ICONS, guidance=dict(type=float, default=GUIDANCE),
        samples=dict(type=int, help="plain samples of a concept"), repetitions=dict(type=int),
        concepts=dict(type=int, help="concepts of each kind of look"),
        named=dict(type=int, help="samples for each look that the prompt names"),
        transformer=dict(action="store_true", help="the demo transformer in place of the demo U-Net"),
        workers=dict(type=int, default=2), sheet=dict(type=Path))
    fill_in(arguments, samples=(128, 32), repetitions=(4, 2), concepts=(10, 2), named=(4, 2))
    tasks = [(kind, concept) for kind, concepts in LOOKS.items() for concept in concepts[: arguments.concepts]]
    _, judge = demo_and_judge(arguments.transformer)
    tellers = {kind: look_teller(judge, arguments.data, kind) for kind in LOOKS}
    with processes(arguments.workers) as pool:
        results = results_of(pool, draw, tasks, arguments)
    figures, rows, frequent, shares = {}, [], {}, {}
    for kind, (teller, right) in tellers.items():
        own = [result for (each, _), result in zip(tasks, results) if each == kind]
        named = np.mean([np.mean(teller.predict(features) == look)
                         for result in own for look, features in result["named"].items()])
        print(f"\n{kind}: {len(teller.classes_)} looks, {right:.2f} of held-out pictures told right, {named:.2f} of "
              f"samples whose prompt names the look")
        key = kind.replace(" ", "_")
        figures |= {f"told_right_{key}": float(right), f"told_right_named_{key}": float(named)}
    for (kind, concept), result in zip(tasks, results):
        teller = tellers[kind][0]
        told = teller.predict(result["features"]["plain"])
        share = {look: float(np.mean(told == look)) for look in teller.classes_}
        most = max(share, key=share.get)
        row = [kind, concept, f"{most} {share[most]:.2f}"]
        shares.setdefault(("most", kind), []).append(share[most])
        for name in (ALIGNED, SHIFTED):
            ends = teller.predict(result["features"][name])
            frequent.setdefault((name, kind), []).append(float(np.mean(ends == most)))
            shares.setdefault((name, kind), []).append(float(np.mean([share[look] for look in ends])))
            row.append(", ".join(f"{look} {share[look]:.2f}" for look in dict.fromkeys(ends.tolist())))
        row += [f"{pairwise_distance(torch.from_numpy(result['features'][name])):.3f}"
                for name in ("plain", ALIGNED, SHIFTED)]
        rows.append(row)
    print(f"\nShares of looks among {arguments.samples} plain samples; {arguments.repetitions} averages of each kind, "
          f"guidance {arguments.guidance:g}\n")
    print_table(["looks", "concept", "most frequent look", f"looks of {ALIGNED}s", f"looks of averages by {SHIFTED}",
                 "distance between plain samples", f"between {ALIGNED}s", f"between averages by {SHIFTED}"], rows)
    print()
    print_table(["looks", "average", "has the most frequent look", "share of its look", "share of the most frequent"],
                [[kind, name, with_interval(np.array(values)), with_interval(np.array(shares[name, kind])),
                  with_interval(np.array(shares["most", kind]))] for (name, kind), values in frequent.items()])
    figures |= {f"{what}_{'mean_shift' if name == SHIFTED else 'average'}_{kind.replace(' ', '_')}":
                float(np.mean(values))
                for what, found in (("most_frequent", frequent), ("share", shares))
                for (name, kind), values in found.items() if name != "most"}
    if arguments.sheet:
        save_sheet([result["shown"] for result in results], [f"{concept}" for _, concept in tasks],
                   "6 plain samples, 2 aligned averages, 2 by mean shift", arguments.sheet)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
