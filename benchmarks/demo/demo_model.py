"""How good the demo checkpoint is: its autoencoder on held-out pictures, and whether pictures show their prompt.

A classifier of concepts (logistic regression on an independent ImageNet network's features) is trained on the real
training pictures. Its accuracy on held-out real pictures says how hard the task is, and on these behind the autoencoder
how good pictures of a perfect denoiser could be; its accuracy on generated pictures says how often they show what was
asked for. The chroma of pictures, beside that of the real ones, says whether their colours are those of the artwork:
too much guidance saturates them.
"""
from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import torch
from support import (
    GUIDANCE,
    ICONS,
    Recogniser,
    as_pictures,
    choose_concepts,
    demo_and_judge,
    features_by_concept,
    parse_arguments,
    picture_psnr,
    plain_samples,
    print_table,
    save_sheet,
    write_figures,
)

import dataset
from mental_averages.dma.statistics import wilson_interval

CONCEPTS = 80


def chroma(pictures: torch.Tensor) -> float:
    """The mean over pictures (N, H, W, 3) of how far their largest colour lies above their smallest one."""
    return (pictures.amax(dim=-1) - pictures.amin(dim=-1)).mean().item()


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], data=ICONS,
                                guidance=dict(type=float, default=GUIDANCE),
                                transformer=dict(action="store_true",
                                                 help="measure the demo transformer instead of the U-Net"),
                                sheet=dict(type=Path, help="write a sheet of generated pictures"))
    pictures, images = dataset.load(arguments.data)
    demo, judge = demo_and_judge(arguments.transformer)
    held = [row for row, picture in enumerate(pictures) if picture.held_out]
    originals = as_pictures(images[held[:: 4 if arguments.quick else 1]])
    restored = demo.restore(originals)
    psnr = picture_psnr(restored, originals)

    concepts = choose_concepts(pictures, 60 if arguments.quick else CONCEPTS)
    recogniser = Recogniser(pictures, images, concepts, judge)
    real_right = {}
    for name, through in (("held-out real", None), ("the same behind the autoencoder", demo.restore)):
        features, labels = features_by_concept(pictures, images, concepts, judge, held_out=True, through=through)
        real_right[name] = int((recogniser.classifier.predict(features.numpy()) == labels).sum())

    per_concept, right, total, shown = (1 if arguments.quick else 4), 0, 0, []
    colours = []
    started = time.monotonic()
    hits = defaultdict(int)
    for number, concept in enumerate(concepts):
        def generate(denoiser, sigmas):
            return plain_samples(denoiser, sigmas, demo.shape, per_concept, seed=number, batch=8)

        generated = demo.decode(demo.with_denoiser(concept, arguments.guidance, generate))
        found = recogniser.right(judge(generated), concept)
        right, total = right + int(found.sum()), total + per_concept
        hits[concept] = int(found.sum())
        colours.append(chroma(generated))
        shown.append(generated[:1])
    seconds = (time.monotonic() - started) / total
    (real, restored_share), generated_share = (count / len(labels) for count in real_right.values()), right / total
    print(f"autoencoder on {len(originals)} held-out pictures: PSNR {psnr.mean():.2f} dB (of the mean error: "
          f"{-10 * (originals - restored).square().mean().log10():.2f} dB)")
    print(f"{len(concepts)} concepts, guidance {arguments.guidance}, {total} generated pictures, {seconds:.2f} s "
          "each\n")
    counted = {**{name: (count, len(labels)) for name, count in real_right.items()}, "generated": (right, total)}
    print_table(["pictures", "classified right", "95 % interval"],
                [*([name, f"{count / number:.3f} ({count}/{number})",
                    "{:.3f}-{:.3f}".format(*wilson_interval(count, number))]
                   for name, (count, number) in counted.items()),
                 ["chance", f"{1 / len(concepts):.3f}", ""]])
    artwork = [chroma(as_pictures(images[[row for row, picture in enumerate(pictures) if picture.concept == concept]]))
               for concept in concepts]
    chromas = {name: sum(found) / len(concepts) for name, found in (("real", artwork), ("generated", colours))}
    print("\nchroma, each concept counted once: " +
          ", ".join(f"{name} {value:.3f}" for name, value in chromas.items()))
    if arguments.sheet:
        rows = [torch.cat(shown[first : first + 10]) for first in range(0, len(shown) - len(shown) % 10, 10)]
        names = [", ".join(f"{name} {hits[name]}" for name in concepts[first : first + 10])
                 for first in range(0, len(rows) * 10, 10)]
        save_sheet(rows, names, f"one picture per concept, guidance {arguments.guidance}", arguments.sheet)
    write_figures({"autoencoder_psnr": psnr.mean().item(), "accuracy_real": real,
                   "accuracy_restored": restored_share, "accuracy_generated": generated_share,
                   "accuracy_ratio": generated_share / real, "concepts": len(concepts), "seconds_per_picture": seconds,
                   **{f"chroma_{name}": value for name, value in chromas.items()}},
                  arguments.json)


if __name__ == "__main__":
    main()
