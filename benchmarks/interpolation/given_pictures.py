"""The average of given pictures: mean shift from their latents beside centroids of their inverted noise.

As in interpolation.py: pictures of one class, N of them in random subsets, judged against all real pictures of the
class. Ways of inverting need the noise; mean shift starts from the weighted mean of the clean latents at a step of the
schedule, and ends like any sample at the same guidance.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _classes import (
    CLASSES,
    POOL,
    QUICK_POOL,
    Way,
    centroids,
    in_words,
    load_class,
    pooled_frechet,
    random_subsets,
    sampled,
)
from support import (
    GUIDANCE,
    ICONS,
    check_least,
    demo_and_judge,
    fill_in,
    interval,
    parse_arguments,
    print_table,
    processes,
    results_of,
    save_sheet,
    sharpness,
    shifted_average,
    write_figures,
)

import dataset
from mental_averages.dma.diffusion import RESTORED_NOISE_SEED, add_noise, sample, starting_noise
from mental_averages.dma.mean_shift import Start
from mental_averages.dma.metrics import kernel_distance

COUNTS, QUICK_COUNTS, COMPARED = [2, 16, 64, 96], [2, 16], 64
WAYS = [Way("lin", "lin", "none"), Way("fix/chm", "fix", "channel"), Way("ours/chm", "restored_variance", "channel")]
LATENT_MEAN, FIX = "mean of clean latents", "fix/chm"


@dataclass(frozen=True)
class Shift:
    """Mean shift from the step `first` on, for `levels` of them (0: the mean is noised once and sampled)."""

    first: int
    levels: int
    noise: float

    @property
    def name(self) -> str:
        what = f"mean shift, {self.levels} levels" if self.levels else "noised once"
        return f"{what} from step {self.first}, noise {self.noise:g}"


SHIFTS = [Shift(first, levels, noise) for first in (4, 8, 12) for levels, noise in ((2, 0.0), (2, 1.0), (0, 1.0))]
BEST = Shift(8, 2, 1.0).name


def averages_of(demo, group, shift: Shift, rows: torch.Tensor) -> torch.Tensor:
    """Pictures (M, H, W, 3) of the averages of subsets, weights (M, N)."""
    def run(denoiser, sigmas):
        found = []
        for seed, weights in enumerate(rows):
            chosen = weights > 0
            start = Start.of(group.clean[chosen], shift.first, weights[chosen])
            if shift.levels:
                found.append(shifted_average(denoiser, sigmas, demo.shape, GUIDANCE, seed, start=start, count=32,
                                             averaged_steps=shift.levels, noise=shift.noise).latents)
            else:
                noise = shift.noise * starting_noise(1, demo.shape, RESTORED_NOISE_SEED)
                x = add_noise(denoiser.parametrization, start.mean, noise, sigmas[shift.first].item())
                found.append(sample(denoiser, x, sigmas[shift.first :]))
        return torch.cat(found)

    return demo.decode(demo.with_denoiser(group.name, GUIDANCE, run, layer=None, gradients=False))


def measure(name: str, arguments) -> dict:
    """Pictures of every way and N for one class, with their features and distances."""
    demo, judge = demo_and_judge()
    pictures, images = dataset.load(arguments.data)
    pool = QUICK_POOL if arguments.quick else POOL
    group = load_class(demo, judge, name, pictures, images, pool)
    mean = torch.nn.functional.normalize(group.features.mean(0), dim=0)
    made = {}
    for count in arguments.counts:
        rows = random_subsets(len(group.noise), count, arguments.subsets)
        noises = [centroids(way, group.noise, rows) for way in WAYS]
        for way, part in zip(WAYS, sampled(demo, name, torch.cat(noises), GUIDANCE).split(len(rows))):
            made[way.name, count] = part
        made[LATENT_MEAN, count] = demo.decode(torch.tensordot(rows, group.clean, 1))
        for shift in SHIFTS:
            made[shift.name, count] = averages_of(demo, group, shift, rows)
    sharp = sharpness(group.pictures).mean()
    features = {key: judge(part) for key, part in made.items()}
    print(f"{name}: done", flush=True)
    return {"features": features, "pictures": {key: part[:1] for key, part in made.items()}, "class": group,
            "kid": {key: kernel_distance(found, group.features, scale=1.0) for key, found in features.items()},
            "cosine": {key: float(1 - (found @ mean).mean()) for key, found in features.items()},
            "sharpness": {key: float(sharpness(part).mean() / sharp) for key, part in made.items()}}


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], data=ICONS, classes=dict(type=int, help="how many classes"),
        subsets=dict(type=int, help="averages per class and N"), counts=dict(type=int, nargs="+", help="N"),
        workers=dict(type=int, default=2, help="processes that share the classes"),
        sheet=dict(type=Path, help="write a sheet of pictures"))
    fill_in(arguments, classes=(len(CLASSES), 2), subsets=(3, 2), counts=(COUNTS, QUICK_COUNTS))
    check_least(arguments, subsets=2)
    dataset.load(arguments.data)  # once, before several processes would fetch the same
    with processes(arguments.workers) as pool:
        results = results_of(pool, measure, CLASSES[: arguments.classes], arguments)
    names, figures = list(dict.fromkeys(name for name, _ in results[0]["features"])), {}
    for measured in ("kid", "cosine", "sharpness"):
        print(f"\n{measured}, {arguments.subsets} averages per class and N, guidance {GUIDANCE:g}\n")
        print_table(["way", *(f"N = {count}" for count in arguments.counts)],
                    [[name, *(in_words(interval(np.array([result[measured][name, count] for result in results])))
                              for count in arguments.counts)] for name in names])
    print("\nFréchet distance over all classes\n")
    distances = {(name, count): pooled_frechet([result["features"][name, count] for result in results],
                                               [result["class"] for result in results], draws=0)[0]
                 for name in names for count in arguments.counts}
    print_table(["way", *(f"N = {count}" for count in arguments.counts)],
                [[name, *(f"{distances[name, count]:.3f}" for count in arguments.counts)] for name in names])
    if COMPARED in arguments.counts:
        for key, name in (("mean_shift", BEST), ("fix_channel", FIX), ("latent_mean", LATENT_MEAN)):
            figures |= {f"{measured}_{key}_n{COMPARED}": float(np.mean([result[measured][name, COMPARED]
                                                                        for result in results]))
                        for measured in ("kid", "cosine", "sharpness")}
            figures[f"frechet_{key}_n{COMPARED}"] = distances[name, COMPARED]
    if arguments.sheet:
        title = f"{', '.join(CLASSES[: arguments.classes])}; each with N = {', '.join(map(str, arguments.counts))}"
        save_sheet([torch.cat([result["pictures"][name, count] for result in results for count in arguments.counts])
                    for name in names], names, title, arguments.sheet, cell=64,
                   columns=len(results) * len(arguments.counts))
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
