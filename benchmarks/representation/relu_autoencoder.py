"""The theory of balanced representations in the smallest network: a two-layer ReLU denoising autoencoder.

Trained on pictures of the demo set (32 x 32, grey, -1 to 1) at one noise level: on five pictures, on thousands, and on
thousands among which five come again and again. The first stores its pictures, one unit each; the second learns what
pictures have in common; the third does both, and its codes tell which pictures it has stored. Losses and gains are
compared with the optima in closed form (_autoencoder.py).
"""
from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _autoencoder import (
    Autoencoder,
    Setting,
    gain,
    linear_optimum,
    loss,
    merged,
    participation,
    spikiness,
    stored_gains,
    storing_optimum,
    train,
    without,
)
from support import ICONS, fill_in, parse_arguments, print_table, with_interval, write_figures
from torch import Tensor

import dataset
from mental_averages.dma.statistics import auroc

SEED = 0
SIDE = 32
FEW = 5
SHOWN = 8  # units in the figure
REPEATED_SHARE = 0.5  # of the draws, in the third network
BLUE, RED = "#30638e", "#d1495b"


@dataclass(frozen=True)
class Trained:
    """A network with what it was trained on, and what belongs to the same distribution but was not."""

    name: str
    network: Autoencoder
    pictures: Tensor
    others: Tensor


def grey_pictures(images: np.ndarray, rows: list[int]) -> Tensor:
    """(N, d) in [-1, 1] of pictures (M, 64, 64, 3) in bytes."""
    pictures = torch.from_numpy(images[rows].astype(np.float32)).mean(-1, keepdim=True).movedim(3, 1) / 127.5 - 1
    return torch.nn.functional.avg_pool2d(pictures, pictures.shape[-1] // SIDE).flatten(1)


def separable(pictures: Tensor, count: int) -> list[int]:
    """The first pictures (N, d) in a random order of which any two have a negative cosine: separable, as the theory
    of storing assumes."""
    units = torch.nn.functional.normalize(pictures, dim=1)
    chosen: list[int] = []
    for row in torch.randperm(len(pictures), generator=torch.Generator().manual_seed(SEED)).tolist():
        if all(units[row] @ units[other] < 0 for other in chosen):
            chosen.append(row)
        if len(chosen) == count:
            return chosen
    raise ValueError(f"There are no {count} pictures of pairwise negative cosine among {len(pictures)}.")


def psnr(network: Autoencoder, pictures: Tensor, setting: Setting) -> Tensor:
    """PSNR in dB (N,) of denoised pictures, with the range -1 to 1 as the peak."""
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(3))
    missed = (network(pictures + setting.sigma * noise) - pictures).square().mean(1)
    return 10 * (4 / missed).log10()


def nearest(network: Autoencoder, pictures: Tensor) -> Tensor:
    """For every unit that is in use, by falling length, the cosine of what it draws with the nearest picture."""
    lengths = network.decoder.norm(dim=0)
    order = lengths.argsort(descending=True)[: int((lengths > 0.1 * lengths.max()).sum())]
    units = torch.nn.functional.normalize(network.decoder[:, order], dim=0)
    return (torch.nn.functional.normalize(pictures, dim=1) @ units).amax(0)


def row_of(each: Trained, setting: Setting) -> list[str]:
    """A row of the table: codes of pictures it was trained on and of others, and what comes back of both."""
    network = merged(each.network)
    known, others = (network.code(pictures[:500]) for pictures in (each.pictures, each.others))
    cosines = nearest(network, each.pictures)
    return [each.name, str(len(cosines)), f"{cosines.median():.2f}",
            *(with_interval(participation(codes).numpy()) for codes in (known, others)),
            *(with_interval(spikiness(codes).numpy()) for codes in (known, others)),
            *(with_interval(psnr(each.network, pictures[:500], setting).numpy())
              for pictures in (each.pictures, each.others))]


def figure(trained: list[Trained], mean: Tensor, setting: Setting, path: Path) -> None:
    """One row a network: what its longest units draw, the codes of two pictures, and what becomes of noisy ones."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(13, 2.5 * len(trained)), dpi=80, layout="constrained")
    rows = drawn.subfigures(len(trained), 1)
    for each, row in zip(trained, rows):
        row.suptitle(each.name, fontsize=10, x=0.01, ha="left")
        units, codes, pictures = row.subfigures(1, 3, width_ratios=(4, 3.4, 4))
        network = merged(each.network)
        order = network.decoder.norm(dim=0).argsort(descending=True)
        grid = units.subplots(2, SHOWN // 2)
        for axes in grid.flat:
            axes.axis("off")
        for axes, unit in zip(grid.flat, order[:SHOWN].tolist()):
            weights = network.decoder[:, unit].view(SIDE, SIDE)
            axes.imshow(weights, cmap="gray", vmin=-weights.abs().max(), vmax=weights.abs().max())
        units.supxlabel("what its longest units draw (W2)", fontsize=8)
        bars = codes.subplots(2, 1)
        for axes, picture, colour, label in ((bars[0], each.pictures[0], RED, "of a picture it knows"),
                                             (bars[1], each.others[0], BLUE, "of one it does not")):
            code = network.code(picture[None])[0].sort(descending=True).values[:40]
            axes.bar(range(len(code)), code, color=colour)
            axes.set_xlim(-1, 40)
            axes.set_title(f"code {label}: {participation(code[None]).item():.1f} units", fontsize=8)
            axes.tick_params(labelsize=6)
        shown = pictures.subplots(2, 3)
        generator = torch.Generator().manual_seed(1)
        for line, picture in zip(shown, (each.pictures[0], each.others[0])):
            noisy = picture + setting.sigma * torch.randn(picture.shape, generator=generator)
            for axes, values, label in zip(line, (picture, noisy, each.network(noisy[None])[0]),
                                           ("clean", "noisy", "denoised")):
                axes.imshow((values + mean).view(SIDE, SIDE), cmap="gray", vmin=-1, vmax=1)
                axes.set_title(label, fontsize=8)
                axes.axis("off")
        pictures.supxlabel("a picture it knows, and one it does not", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, pil_kwargs={"quality": 82} if path.suffix in (".jpg", ".jpeg") else None)


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], data=ICONS,
                                figure=dict(type=Path, help="write the figure here (.jpg or .png)"),
                                count=dict(type=int, help="pictures of the many (6000; 2000 with --quick)"),
                                steps=dict(type=int, help="steps of each training (2000; 300 with --quick)"))
    fill_in(arguments, count=(6000, 2000), steps=(2000, 300))
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # decay takes units that nothing needs to numbers that take a processor long
    started, setting = time.monotonic(), Setting(steps=arguments.steps)
    pictures, images = dataset.load(arguments.data)
    chosen = np.random.default_rng(SEED).permutation([row for row, each in enumerate(pictures) if not each.held_out])
    held_out = [row for row, each in enumerate(pictures) if each.held_out]
    known, others = grey_pictures(images, chosen[: arguments.count].tolist()), grey_pictures(images, held_out)
    mean = known.mean(0)
    raw, many, others = known, known - mean, others - mean
    repeated = separable(many, FEW)
    few, rest = many[repeated], without(many, repeated)
    both = torch.cat([few, rest])
    shares = torch.cat([torch.full((FEW,), REPEATED_SHARE / FEW), torch.full((len(rest),),
                                                                            (1 - REPEATED_SHARE) / len(rest))])

    stored = Trained(f"{FEW} pictures", train(few, setting, SEED), few, others)
    print(f"{stored.name} trained after {time.monotonic() - started:.0f} s", flush=True)
    learned = Trained(f"{len(many)} pictures", train(many, setting, SEED), many, others)
    print(f"{learned.name} trained after {time.monotonic() - started:.0f} s", flush=True)
    mixed = Trained(f"{len(rest)} pictures, and {FEW} others again and again", train(both, setting, SEED, shares), few,
                    rest)
    print(f"{mixed.name} trained after {time.monotonic() - started:.0f} s", flush=True)
    cone = train(raw, setting, SEED)
    print(f"all trained after {time.monotonic() - started:.0f} s\n", flush=True)

    print_table(["trained on", "units in use", "cosine of a unit with the nearest picture",
                 "units of a code, known pictures", "other pictures", "spikiness, known", "other",
                 "denoised PSNR in dB, known", "other"],
                [row_of(each, setting) for each in (stored, learned, mixed)])
    gains, expected = stored_gains(stored.network, few), gain(few.square().sum(1), setting, 1 / FEW)
    best, lowest = linear_optimum(raw, setting)
    reached = cone.decoder @ cone.encoder.T
    half = linear_optimum(many, dataclasses.replace(setting, width=setting.width // 2))[1]
    print()
    print_table(["what is compared", "trained", "closed form"], [
        ["loss, five pictures stored", f"{loss(stored.network, few, setting, 100):.4f}",
         f"{storing_optimum(few, setting, 1 / FEW):.4f}"],
        ["loss, five pictures by a linear network", "", f"{linear_optimum(few, setting)[1]:.4f}"],
        ["gain of each stored picture", " ".join(f"{value:.4f}" for value in gains),
         " ".join(f"{value:.4f}" for value in expected)],
        ["loss, many pictures about their mean", f"{loss(learned.network, many, setting):.2f}",
         f"{linear_optimum(many, setting)[1]:.2f} (linear, all {setting.width} units), {half:.2f} (by pairs)"],
        ["loss, many pictures as they are (in one cone)", f"{loss(cone, raw, setting):.2f}", f"{lowest:.2f}"],
        ["open gates there", f"{((raw @ cone.encoder) > 0).float().mean():.3f}", "1"],
        ["distance of W2 W1^T from the closed form, relative", f"{((reached - best).norm() / best.norm()):.3f}", "0"],
    ])
    scores = {name: auroc(spikiness(mixed.network.code(few)), spikiness(mixed.network.code(pictures_)))
              for name, pictures_ in (("once", rest), ("never", others))}
    print(f"\nSpikiness of codes tells the {FEW} repeated pictures from those seen once with an area under the curve "
          f"of {scores['once']:.3f}, from those never seen with {scores['never']:.3f}. "
          f"{time.monotonic() - started:.0f} s.")
    if arguments.figure:
        figure([stored, learned, mixed], mean, setting, arguments.figure)
    network = merged(stored.network)
    write_figures({"stored_loss": loss(stored.network, few, setting, 100),
                   "stored_loss_closed_form": storing_optimum(few, setting, 1 / FEW),
                   "stored_units": participation(network.code(few)).mean().item(),
                   "learned_units": participation(merged(learned.network).code(others[:500])).mean().item(),
                   "cone_loss": loss(cone, raw, setting), "cone_loss_closed_form": lowest,
                   "auroc_repeated": scores["once"]}, arguments.json)


if __name__ == "__main__":
    main()
