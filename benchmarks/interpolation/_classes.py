"""Classes of real pictures with their inverted noise, centroids of some, and how far pictures are from a class."""
from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import torch
from support import DemoModel, FeatureSpace, as_pictures
from torch import Tensor

from mental_averages.dma.execution import BatchSize
from mental_averages.dma.interpolation import interpolate
from mental_averages.dma.inversion import invert, sample_back
from mental_averages.dma.metrics import FeatureMoments, frechet_distance, frechet_of_moments, moments_of
from mental_averages.dma.statistics import jackknife_error, student_quantile

# A class is every picture whose caption has this word; the word is its prompt.
CLASSES = ["face", "hand", "heart", "worker", "wheelchair", "button", "kiss", "wrestling"]
POOL, QUICK_POOL = 192, 96  # inverted pictures per class
COMPONENTS = 16


@dataclass(frozen=True)
class Way:
    """One way to a centroid, under the name that the paper gives such a way."""

    name: str
    method: str
    mean_adjustment: str
    low_pass_width: float = float("inf")


@dataclass
class Class:
    """The real pictures of a class: their features, and the noise of the inverted ones."""

    name: str
    compared: Tensor  # (P, H, W, 3), what made pictures are judged by
    features: Tensor  # (P, D), theirs
    pictures: Tensor  # the inverted ones (n, H, W, 3)
    clean: Tensor  # their latents (n, C, H, W)
    noise: Tensor  # (n, C, H, W)


def load_class(demo: DemoModel, judge: FeatureSpace, name: str, pictures: list, images: np.ndarray, pool: int) -> Class:
    rows = [row for row, picture in enumerate(pictures) if name in picture.caption.split()]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    chosen = as_pictures(images[[rows[place] for place in order]])
    clean = demo.latents_of(chosen[:pool])

    def up(denoiser, sigmas):
        return invert(denoiser, clean, sigmas, batch=BatchSize(32), measure=False).trajectory.noise

    compared = chosen[: 2 * POOL]
    return Class(name, compared, judge(compared), chosen[:pool], clean, demo.with_denoiser(name, 1.0, up, layer=None))


def sampled(demo: DemoModel, prompt: str, noise: Tensor, guidance: float) -> Tensor:
    """Pictures of noise z (N, C, H, W)."""
    return demo.decode(demo.with_denoiser(prompt, guidance, layer=None, function=lambda denoiser, sigmas: sample_back(
        denoiser, noise, sigmas, batch=BatchSize(32))))


def random_subsets(total: int, count: int, subsets: int) -> Tensor:
    """Weights (subsets, total) of centroids of `count` latents; the same for every class and way."""
    generator = torch.Generator().manual_seed(count)
    rows = torch.zeros(subsets, total)
    for row in rows:
        row[torch.randperm(total, generator=generator)[:count]] = 1 / count
    return rows


def centroids(way: Way, noise: Tensor, rows: Tensor) -> Tensor:
    return interpolate(noise, rows, method=way.method, mean_adjustment=way.mean_adjustment,
                       low_pass_width=way.low_pass_width).latents


def pooled_frechet(found: list[Tensor], classes: list[Class], draws: int) -> list[float]:
    """The distance over all classes together, then of `draws` bootstrap samples of classes."""
    least = min(len(group.features) for group in classes)
    real = torch.stack([group.features[:least] for group in classes])  # (classes, P, D)
    centre = real.mean(dim=(0, 1))
    axes = torch.linalg.eigh(torch.cov(real.flatten(0, 1).T)).eigenvectors[:, -COMPONENTS:]  # (D, 16)
    real, made = (real - centre) @ axes, (torch.stack(found) - centre) @ axes
    generator = np.random.default_rng(0)
    samples = [np.arange(len(classes)), *generator.integers(0, len(classes), (draws, len(classes)))]
    return [frechet_distance(made[sample].flatten(0, 1), real[sample].flatten(0, 1)) for sample in samples]


def pooled_fid(made: dict[Hashable, list[Tensor]], real: list[Tensor]) -> dict[Hashable, tuple[float, float, float]]:
    """The Fréchet distance over all classes together, in all features, of made pictures (n, D) of each class from real
    ones (P, D), with Student's 95 % interval around the error by the jackknife over classes.

    Not the bootstrap's: a class that is drawn twice adds no variety, and makes the distance larger.
    """
    classes = range(len(real))
    made_moments = {key: [moments_of(rows) for rows in found] for key, found in made.items()}
    real_moments = [moments_of(rows) for rows in real]
    found: dict[Hashable, list[float]] = {key: [] for key in made}
    for left_out in (None, *classes):
        kept = [place for place in classes if place != left_out]
        whole = merged(real_moments, kept)
        whole.factor = torch.linalg.qr(whole.factor, mode="r").R  # once, and not for every way
        for key, moments in made_moments.items():
            found[key].append(frechet_of_moments(merged(moments, kept), whole))
    quantile = student_quantile(len(real) - 1)
    half = {key: quantile * jackknife_error(torch.tensor(values[1:])).item() for key, values in found.items()}
    return {key: (values[0], max(0.0, values[0] - half[key]), values[0] + half[key]) for key, values in found.items()}


def merged(moments: list[FeatureMoments], places: list[int]) -> FeatureMoments:
    whole = FeatureMoments()
    for place in places:
        whole.merge(moments[place])
    return whole


def in_words(values: tuple[float, float, float]) -> str:
    """A value with its interval, whose ends may be negative."""
    return "{:.3f} ({:.3f} to {:.3f})".format(*values)
