"""Centroids of inverted real pictures: how the bias grows with their number, and how good the pictures stay.

Pictures of one class are inverted by DDIM at guidance 1 with the class as prompt. Centroids of N of them, in random
subsets, are sampled with guidance and judged against up to 384 real pictures of the class, the inverted ones among
them, in the features of an independent ImageNet network (EfficientNet-Lite0, unit length): KID with the kernel
(1 + cosine)^3 by class, FID's formula in all features and in their first 16 principal components over all classes
together, and 1 - cosine to the mean of the class.
By the demo CLIP, which was trained on such pictures: the CLIP distance of figure 7, which is 1 - cosine to the mean of
the class, and CMMD, by class. FID and CMMD are too large for few pictures: they compare ways and N, of which all have
as many. Intervals are 95 % bootstrap over classes, of FID's formula by the jackknife over classes.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from _classes import (
    CLASSES,
    POOL,
    QUICK_POOL,
    Class,
    Way,
    centroids,
    in_words,
    load_class,
    pooled_fid,
    pooled_frechet,
    random_subsets,
    sampled,
)
from support import (
    GUIDANCE,
    ICONS,
    DemoModel,
    FeatureSpace,
    check_least,
    fill_in,
    interval,
    load_encoder,
    median_seconds,
    parse_arguments,
    picture_psnr,
    print_table,
    save_sheet,
    with_interval,
    write_figures,
)

import dataset
from mental_averages.dma import encoders, interpolation
from mental_averages.dma.interpolation import interpolate, norm_guided_centroid
from mental_averages.dma.metrics import clip_discrepancy, distance_to_mean, kernel_distance

COUNTS, QUICK_COUNTS, COMPARED = [2, 4, 8, 16, 32, 64, 96], [2, 16, 64], 64
MEASURES = {"fid": "FID's formula", "clip": "CLIP distance to the class mean", "kid": "KID", "cmmd": "CMMD",
            "frechet": "Fréchet distance, 16 components", "cosine": "1 - cosine to the class mean"}
BY_CLASS = ("kid", "cosine", "clip", "cmmd")
COLOURS = 10  # of matplotlib's cycle
NORM_GUIDED, NORM_GUIDED_COUNTS = "norm-guided (NAO)", (2, 4)


WAYS = [Way("lin", "lin", "none"), Way("fix/0", "fix", "none"), Way("nin/0", "nin", "none"),
        Way("fix/m", "fix", "global"), Way("nin/m", "nin", "global"), Way("fix/chm", "fix", "channel"),
        Way("nin/chm", "nin", "channel"),
        Way("lol/chm", "lol", "channel"), Way("ours/chm", "restored_variance", "channel"),
        Way("ours/low pass 2", "restored_variance", "low_pass", 2.0)]
FIX, FIX_CHANNEL, OURS, FRESH = "fix/0", "fix/chm", "ours/chm", "fresh noise"


def growth_of_bias(classes: list[Class], counts: list[int], subsets: int) -> dict[str, float]:
    """Prints how channel means of fix centroids grow with N; returns R^2 of the laws sqrt(N) and alpha(N), all classes
    together."""
    rows, averaged, predicted = [], [], []
    for group in classes:
        growth = interpolation.channel_mean_growth(group.noise, counts, subsets=subsets, seed=0)
        alpha = torch.stack([factors.mean() for factors in growth.amplification])
        bias = interpolation.channel_means(group.noise).mean(0)
        averaged.append(growth.averaged)
        predicted.append(alpha[:, None] * bias)
        rows.append([group.name, " ".join(f"{value:+.3f}" for value in bias.tolist()),
                     " ".join(f"{value:.2f}" for value in growth.averaged.norm(dim=1).tolist()),
                     " ".join(f"{value:.2f}" for value in alpha.tolist()),
                     f"{interpolation.relative_norms(group.noise).mean():.3f}",
                     f"{interpolation.square_root_fit(counts, growth.averaged)[1]:.3f}"])
    numbers = " ".join(map(str, counts))
    print_table(["class", "channel means of the noise", f"norm of a centroid's channel means, N = {numbers}",
                 f"alpha, N = {numbers}", "norm / sqrt(L)", "R^2 of sqrt(N)"], rows)
    together, law = torch.cat(averaged, dim=1), torch.cat(predicted, dim=1)
    spread = (together - together.mean(0)).square().sum()
    return {"bias_sqrt_n_r2": interpolation.square_root_fit(counts, together)[1],
            "bias_alpha_r2": 1 - ((together - law).square().sum() / spread).item()}


def reproduction(demo: DemoModel, classes: list[Class], count: int) -> dict[str, float]:
    """PSNR at guidance 1 of one-hot mixtures against the real pictures through the autoencoder, by way."""
    ways, errors = [way for way in WAYS if way.name in (FIX, FIX_CHANNEL, "nin/chm", OURS)], []
    for group in classes:
        noise = group.noise[:count]
        returned = sampled(demo, group.name,
                           torch.cat([noise, *(centroids(way, noise, torch.eye(count)) for way in ways)]), 1.0)
        restored = demo.restore(group.pictures[:count]).repeat(1 + len(ways), 1, 1, 1)
        errors.append(picture_psnr(returned, restored).unflatten(0, (-1, count)).mean(dim=1).numpy())
    by_way = dict(zip(["noise as it is", *(way.name for way in ways)], np.array(errors).T))
    print(f"\nPSNR in dB of {count} pictures a class from one-hot weights, guidance 1\n")
    print_table(["way", "PSNR"], [[name, with_interval(values)] for name, values in by_way.items()])
    return {f"psnr_one_hot_{key}": float(by_way[name].mean())
            for key, name in (("unchanged", "noise as it is"), ("fix_channel", FIX_CHANNEL), ("ours", OURS))}


def cost_of_a_centroid(demo: DemoModel, group: Class, count: int) -> dict[str, float]:
    """Median seconds of one centroid, and of one unguided model call for one latent."""
    way = next(way for way in WAYS if way.name == OURS)
    rows = random_subsets(len(group.noise), count, 1)

    chosen = group.noise[rows[0] > 0]
    call = demo.with_denoiser(group.name, 1.0, lambda denoiser, sigmas: median_seconds(
        lambda: denoiser.denoise(group.noise[:1], sigmas[0].item()), 10), layer=None)
    centroid = median_seconds(
        lambda: interpolate(chosen, method=way.method, mean_adjustment=way.mean_adjustment), 10)
    return {"seconds_per_centroid": centroid, "seconds_per_model_call": call}


def plot(quality: dict, counts: list[int], path: Path) -> None:
    """Quality against N for every way, as the paper's figure 7, whose two panels are the first two."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.0), layout="constrained")
    names = [name for name in dict.fromkeys(name for name, _ in quality) if name != FRESH]
    for axes, (measure, title) in zip(figure.subplots(2, 3).flatten(), MEASURES.items()):
        for number, name in enumerate(names):
            present = [count for count in counts if (name, count) in quality]
            middle, low, high = np.array([quality[name, count][measure] for count in present]).T
            line = "-" if "chm" in name or "low" in name else "--"
            colour = f"C{number}" if number < COLOURS else "black"
            axes.plot(present, middle, line, marker="os"[number // COLOURS], markersize=3, color=colour, label=name,
                      linewidth=2 if name == OURS else 1.2)
            axes.fill_between(present, low, high, color=colour, alpha=0.07, linewidth=0)
        axes.axhline(quality[FRESH, counts[0]][measure][0], color="#999999", linestyle=":", label=FRESH)
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, counts)
        axes.set(title=title, xlabel="N")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0],
        data=ICONS,
        guidance=dict(type=float, default=GUIDANCE), classes=dict(type=int, help="how many classes"),
        subsets=dict(type=int, help="centroids per class and N"),
        sheet=dict(type=Path, help="write a sheet of pictures"),
        figure=dict(type=Path, help="write a plot of quality against N"))
    fill_in(arguments, classes=(len(CLASSES), 4), subsets=(5, 3))
    check_least(arguments, classes=2, subsets=2)
    names, subsets = CLASSES[: arguments.classes], arguments.subsets
    counts, pool = (QUICK_COUNTS, QUICK_POOL) if arguments.quick else (COUNTS, POOL)
    pictures, images = dataset.load(arguments.data)
    demo, judge, encoder = DemoModel(), FeatureSpace(), load_encoder(None)
    classes = [load_class(demo, judge, name, pictures, images, pool) for name in names]
    print(f"{len(classes)} classes, {pool} inverted pictures each\n")
    figures = growth_of_bias(classes, counts, subsets=32)
    figures |= reproduction(demo, classes, count=8 if arguments.quick else 16)
    figures |= cost_of_a_centroid(demo, classes[0], counts[-1])

    made, shown, by_class = {}, {}, {}
    for group in classes:
        white = torch.randn(subsets, *demo.shape, generator=torch.Generator().manual_seed(0))
        noises = {(FRESH, counts[0]): white}
        for count in counts:
            rows = random_subsets(len(group.noise), count, subsets)
            noises |= {(way.name, count): centroids(way, group.noise, rows) for way in WAYS}
            if count in NORM_GUIDED_COUNTS and not arguments.quick:
                noises[NORM_GUIDED, count] = torch.cat([norm_guided_centroid(group.noise[row > 0]).latents
                                                        for row in rows])
        generated = sampled(demo, group.name, torch.cat(list(noises.values())), arguments.guidance)
        features, embedded = (each.split(subsets) for each in (judge(generated),
                                                               encoders.embed_images(encoder, generated.clamp(0, 1))))
        real = encoders.embed_images(encoder, group.compared)  # (P, E)
        shown[group.name] = dict(zip(noises, generated.split(subsets)))
        for key, found, embeddings in zip(noises, features, embedded):
            made.setdefault(key, []).append(found)
            by_class.setdefault(key, []).append((
                kernel_distance(found, group.features, scale=1.0), distance_to_mean(found, group.features).value,
                distance_to_mean(embeddings, real).value, clip_discrepancy(embeddings, real).value))
        print(f"{group.name}: {len(generated)} pictures", flush=True)

    least = min(len(group.features) for group in classes)
    quality, fid = {}, pooled_fid(made, [group.features[:least] for group in classes])
    for key, found in made.items():
        frechet = pooled_frechet(found, classes, draws=100)
        quality[key] = {**{name: interval(values) for name, values in zip(BY_CLASS, np.array(by_class[key]).T)},
                        "fid": fid[key], "frechet": (frechet[0], *np.quantile(frechet[1:], (0.025, 0.975)))}
    for measure, title in MEASURES.items():
        print(f"\n{title}, {subsets} centroids per class and N, guidance {arguments.guidance}\n")
        print_table(["way", *(f"N = {count}" for count in counts)],
                    [[name, *(in_words(quality[name, count][measure]) if (name, count) in quality else ""
                              for count in counts)]
                     for name in dict.fromkeys(name for name, _ in quality)])
    print("\nKID of ours/chm less that of another way, paired by class (below 0: ours is better)\n")
    kid_of = lambda name, count: np.array(by_class[name, count])[:, 0]  # noqa: E731
    print_table(["way", *(f"N = {count}" for count in counts)],
                [[way.name, *(in_words(interval(kid_of(OURS, count) - kid_of(way.name, count))) for count in counts)]
                 for way in WAYS if way.name != OURS])
    for key, name in (("fix", FIX), ("fix_channel", FIX_CHANNEL), ("ours", OURS)):
        figures |= {f"{measure}_{key}_n{COMPARED}": quality[name, COMPARED][measure][0]
                    for measure in MEASURES}
    figures[f"kid_ours_minus_fix_channel_n{COMPARED}"] = float((kid_of(OURS, COMPARED)
                                                                - kid_of(FIX_CHANNEL, COMPARED)).mean())
    if arguments.figure:
        plot(quality, counts, arguments.figure)
    if arguments.sheet:
        ways = [("lin", "linear"), (FIX, "fixed norm"), (FIX_CHANNEL, "fixed norm, channel mean"),
                (OURS, "restored variance, channel mean")]
        save_sheet([torch.cat([shown[group.name][name, count][:1] for count in counts]) for group in classes[:4]
                    for name, _ in ways],
                   [f"{group.name}: {label}" for group in classes[:4] for _, label in ways],
                   "centroids of N = " + ", ".join(map(str, counts)) + " inverted pictures", arguments.sheet)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
