"""Whether pictures with the same label lie together in what the demo model represents of them, beside the demo CLIP.

Held-out real pictures with known labels are encoded, and their channel means read under an empty prompt, at every layer
and several noise levels. Clusters of them, with the number of labels given, are compared with the labels by the
adjusted Rand index: 1 for the labels themselves, 0 for chance. Controls say what the network adds: pixels and latents
as they are, and a network of the same shape with random weights. How sparse the channel means are, and how many
channels are specialised, is measured on the same pictures.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from support import (
    ATTRIBUTES,
    DIMENSIONS,
    ICONS,
    PER_LABEL,
    DemoModel,
    fill_in,
    labelled_pictures,
    load_encoder,
    parse_arguments,
    print_table,
    processes,
    results_of,
    with_interval,
    write_figures,
)
from torch import Tensor

from mental_averages.dma import clustering, encoders, figures
from mental_averages.dma.representation import Reading, means_of_layers, sparsity

METHODS = {"mixture": clustering.MIXTURE, "k_means": clustering.K_MEANS}
HEADLINE, SHARE = "middle_block", 0.8  # what ChannelMeans reads as it stands


@dataclass(frozen=True)
class Rows:
    """Random subsets with equally many pictures of each label: labels (R,), and the rows of each subset (S, n) among
    the R pictures that any subset holds, whose numbers are `pictures`."""

    pictures: np.ndarray
    labels: np.ndarray
    subsets: list[np.ndarray]

    @classmethod
    def drawn(cls, labels: np.ndarray, subsets: int) -> Rows:
        found = []
        for subset in range(subsets):
            generator = np.random.default_rng(subset)
            found.append(np.concatenate([generator.choice(np.flatnonzero(labels == label), PER_LABEL, replace=False)
                                         for label in range(int(labels.max()) + 1)]))
        pictures, rows = np.unique(np.concatenate(found), return_inverse=True)
        return cls(pictures, labels[pictures], np.split(rows, subsets))


def agreements(values: Tensor, rows: Rows) -> dict[str, list[float]]:
    """Adjusted Rand index of clusters of embeddings (R, D) against the labels, by method, for each subset."""
    from sklearn.metrics import adjusted_rand_score

    count = int(rows.labels.max()) + 1
    return {name: [float(adjusted_rand_score(rows.labels[subset], clustering.cluster(
        values[subset], clustering.ClusterSettings(count, count, dimensions=DIMENSIONS, minimum_size=4,
                                                   method=method)).labels)) for subset in rows.subsets]
            for name, method in METHODS.items()}


def sigmas_at(model, shares: list[float]) -> list[float]:
    from mental_averages.nodes.inputs import noise_levels

    return noise_levels(model, " ".join(map(str, shares)))


def read(demo: DemoModel, latents: Tensor, shares: list[float], draws: int) -> tuple[list[float], dict]:
    """Noise levels, and the channel means of latents at every layer under an empty prompt."""
    from mental_averages.nodes import comfyui

    sigmas, layers = sigmas_at(demo.model, shares), comfyui.layer_names(demo.model)
    return sigmas, demo.with_denoiser("", 1.0, lambda denoiser, _: means_of_layers(
        denoiser, latents, sigmas, layers, Reading(draws)), layer=layers[-1], gradients=False)


def untrained(seed: int = 0) -> DemoModel:
    """The demo U-Net with random weights: of every tensor mean and standard deviation are those of the trained one."""
    demo, generator = DemoModel(), torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        for weight in demo.model.model.diffusion_model.parameters():
            spread = weight.std() if weight.numel() > 1 else torch.zeros(())
            weight.copy_(weight.mean() + spread * torch.randn(weight.shape, generator=generator))
    return demo


def measure(name: str, arguments) -> dict:
    """Agreement of all embeddings of one attribute's pictures, and the sparsity of their channel means."""
    attribute = next(each for each in ATTRIBUTES if each.name == name)
    images, labels = labelled_pictures(attribute, arguments.data)
    rows, demo = Rows.drawn(labels, arguments.subsets), DemoModel()
    images = images[rows.pictures]
    latents = demo.latents_of(images)
    encoder = load_encoder(arguments.encoder)
    found = {"clip": encoders.embed_images(encoder, images), "latents": latents.flatten(1),
             "pixels": torch.nn.functional.avg_pool2d(images.permute(0, 3, 1, 2), 4).flatten(1)}
    sigmas, layers = read(demo, latents, arguments.shares, arguments.draws)
    measured = {way: agreements(values, rows) for way, values in found.items()}
    by_layer = {layer: [agreements(means.at(level).rows(), rows) for level in range(len(sigmas))]
                for layer, means in layers.items()}
    measured["all levels"] = agreements(layers[HEADLINE].rows(), rows)
    _, random_layers = read(untrained(), latents, arguments.shares, arguments.draws)
    random_levels = [agreements(random_layers[HEADLINE].at(level).rows(), rows) for level in range(len(sigmas))]
    print(f"{name}: {len(images)} pictures of {len(attribute.labels)} labels measured", flush=True)
    return {"attribute": attribute, "count": len(images), "sigmas": sigmas, "measured": measured, "layers": by_layer,
            "untrained": random_levels,
            "sparsity": sparsity(list(layers.values()), {"pictures_of": name}).to_json()}


def print_agreement(result: dict, shares: list[float], subsets: int) -> None:
    """The table of one attribute."""
    attribute, levels = result["attribute"], sorted(shares)
    print(f"\n{attribute.name.replace('_', ' ')}: {len(attribute.labels)} labels, {result['count']} pictures, "
          f"{subsets} random subsets of {PER_LABEL} a label; adjusted Rand index, 95 % intervals over subsets, which "
          "share pictures.\n")

    def row(title: str, level: str, found: dict[str, list[float]]) -> list[str]:
        return [title, level, *(with_interval(found[method]) for method in METHODS)]

    lines = [row("demo CLIP", "", result["measured"]["clip"])]
    lines += [row(f"channel means, {HEADLINE}", f"{share:g}", found)
              for share, found in zip(levels, result["layers"][HEADLINE])]
    lines += [row(f"channel means, {HEADLINE}", "all", result["measured"]["all levels"])]
    lines += [row("the same, untrained network", f"{share:g}", found)
              for share, found in zip(levels, result["untrained"])]
    lines += [row(name, "", result["measured"][name]) for name in ("latents", "pixels")]
    print_table(["embedding", "level (share of sampling)", "mixture", "k-means"], lines)
    print("\nBy layer (k-means):\n")
    print_table(["layer", *(f"level {share:g}" for share in levels)],
                [[layer, *(f"{np.mean(found['k_means']):.3f}" for found in at)]
                 for layer, at in result["layers"].items()])


def figures_of(result: dict, shares: list[float]) -> dict[str, float]:
    """The figures of one attribute; those of a single noise level at the one that is nearest to `SHARE`."""
    name, found, levels = result["attribute"].name, {}, sorted(shares)
    level = min(range(len(levels)), key=lambda number: abs(levels[number] - SHARE))
    for method in METHODS:
        found |= {f"ari_{name}_clip_{method}": float(np.mean(result["measured"]["clip"][method])),
                  f"ari_{name}_representation_{method}": float(np.mean(result["layers"][HEADLINE][level][method])),
                  f"ari_{name}_all_levels_{method}": float(np.mean(result["measured"]["all levels"][method])),
                  f"ari_{name}_untrained_{method}": float(np.mean(result["untrained"][level][method])),
                  f"ari_{name}_latents_{method}": float(np.mean(result["measured"]["latents"][method])),
                  f"ari_{name}_pixels_{method}": float(np.mean(result["measured"]["pixels"][method]))}
    return found


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], subsets=dict(type=int, help="random subsets of the pictures"),
        draws=dict(type=int, help="draws of noise"),
        shares=dict(type=float, nargs="+", help="noise levels, as shares of sampling"), data=ICONS,
        encoder=dict(type=Path, help="folder of another CLIP in place of the demo CLIP"),
        workers=dict(type=int, default=2, help="processes that share the attributes"),
        plot=dict(type=Path, help="write the plot of sparsity over blocks"))
    fill_in(arguments, subsets=(20, 3), draws=(8, 2), shares=([0.2, 0.5, 0.7, 0.8, 0.9, 1.0], [0.5, 0.8, 1.0]))
    with processes(arguments.workers) as pool:
        results = results_of(pool, measure, [attribute.name for attribute in ATTRIBUTES], arguments)
    found = {}
    for result in results:
        print_agreement(result, arguments.shares, arguments.subsets)
        found |= figures_of(result, arguments.shares)
    report = figures.read_report(results[-1]["sparsity"])
    print(f"\nSparsity on the {results[-1]['count']} pictures of {results[-1]['attribute'].name}:\n")
    print(report.table(), "\n")
    if arguments.plot:
        from PIL import Image

        arguments.plot.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((figures.plot(report)[0] * 255).round().byte().numpy()).save(arguments.plot)
    middle = next(block for block in report.blocks if block.name == HEADLINE)
    found |= {"participation_middle": middle.participation[-1], "specialised_middle": middle.specialised[-1]}
    write_figures(found, arguments.json)


if __name__ == "__main__":
    main()
