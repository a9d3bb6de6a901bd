"""Where the layers of a direction lead: what adding it at one of them does to predictions of clean latents."""
from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..diffusion import Denoiser, add_noise, check_finite
from ..execution import BatchSize, Event, choose_batch
from ..precision import in_double
from ._direction import Direction

WEIGHTINGS = ("lead", "equal")
BY_LEAD = WEIGHTINGS[0]
RIDGE = 0.01
SAME = 1e-6  # as a share of the length of latents
VALUES_AT_ONCE = 2**14  # of each layer, in fp64


def mean_predictions(denoiser: Denoiser, clean: Tensor, noise: Tensor, sigmas: Sequence[float],
                     batch: BatchSize | None = None) -> Generator[Event, None, Tensor]:
    """The means (S, C, H, W) over latents of what a model takes for clean in them, at each of S noise levels.

    clean, noise: latents (N, C, H, W) and the noise that is added to them; fp64 on the CPU comes back.
    """
    batch = choose_batch(batch, clean.shape[1:])
    means = torch.zeros(len(sigmas), *clean.shape[1:], dtype=torch.float64)
    for level, sigma in enumerate(sigmas):
        def predict(rows: slice, sigma: float = sigma) -> Tensor:
            noisy = add_noise(denoiser.parametrization, clean[rows], noise[rows], sigma)
            return denoiser.denoise(noisy.to(denoiser.device), sigma)  # (b, C, H, W)

        for rows, found in batch.over(len(clean), predict):
            check_finite(found, "Predictions of the model", sigma)
            means[level] += in_double(found).sum(0) / len(clean)
            yield Event("predict", rows.stop - rows.start, rows.stop, len(clean))
    return means


def way_between(positive: Tensor, negative: Tensor) -> Tensor:
    """The way (C, H, W) from the mean of latents (M, C, H, W) to that of others (N, C, H, W), in fp64 on the CPU.
    Raises ValueError where the means are the same."""
    way = _mean(positive) - _mean(negative)
    lengths = [in_double(latent).norm().item() for latents in (positive, negative) for latent in latents]
    if way.norm() <= SAME * sum(lengths) / len(lengths):
        raise ValueError("The mean pictures of the two sets are the same, so that there is no way from one to the "
                         "other that layers could lead along: take other pictures, or, if they differ in more than "
                         "their mean, choose the weighting 'equal'.")
    return way


def _mean(latents: Tensor) -> Tensor:
    """The mean (C, H, W) of latents (N, C, H, W) in fp64, to which one of them at a time is brought."""
    total = torch.zeros(latents.shape[1:], dtype=torch.float64)
    for latent in latents:
        total += in_double(latent)
    return total / len(latents)


def lead(moved: Tensor, way: Tensor) -> float:
    """The share of a way (C, H, W) by which predictions have been moved along it: the mean over noise levels of

        <moved, way> / |way|^2

    of how far mean predictions (S, C, H, W) have moved. 1 is all of the way, below 0 they move back.

    >>> way = torch.tensor([3.0, 4.0]).reshape(1, 1, 2)
    >>> lead(0.5 * way[None], way)
    0.5
    """
    moved, way = in_double(moved), in_double(way)
    return ((moved * way).sum(dim=(-3, -2, -1)) / way.square().sum()).mean().item()


def weighted_to_lead(direction: Direction, moved: Mapping[str, Tensor], way: Tensor) -> Direction:
    """The direction whose layers are weighted so that together they lead along the way: the ridge regression of the way
    (C, H, W) on what each layer moves, m_l (S, C, H, W) at S noise levels,

        w = argmin_w  |sum_l w_l m_l - way|^2 / (S |way|^2) + rho |w|^2,    rho = 0.01

    What a layer moves besides the way is paid for, so that layers which change all of a picture at once, near the input
    and the output of a network, do not carry it alone; a layer that leads back is mostly turned round. The ridge keeps
    weights where adding is still as good as linear.

    moved: by layer, how far adding its vector once moves mean predictions (`mean_predictions`). Raises ValueError if
    they are not finite, or all 0.

    >>> from ._direction import LayerDirection
    >>> layer = LayerDirection(torch.ones(2), 1.0, 1.0, 1.0, 1.0)
    >>> way = torch.tensor([3.0, 0.0]).reshape(1, 1, 2)
    >>> found = weighted_to_lead(Direction({"a": layer}, "difference", 2, 2), {"a": -0.1 * way[None]}, way).layers["a"]
    >>> round(found.lead, 3), round(found.weight, 3)
    (-0.1, -5.0)
    """
    way = in_double(way)
    movements = [moved[layer] for layer in direction.layers]
    products, along = _products(movements, way)
    if not products.isfinite().all():
        raise ValueError("Where the layers of this direction lead is NaN or infinity: choose another scale or layers.")
    if not products.any():
        raise ValueError("None of these layers leads anywhere: adding the direction does not change predictions. "
                         "Choose other layers.")
    size = len(movements[0]) * way.square().sum()
    ridge = RIDGE * torch.eye(len(movements), dtype=torch.float64)
    weights = torch.linalg.solve(products / size + ridge, along / size)  # (layers,)
    if not weights.abs().max() > SAME:
        raise ValueError("None of these layers leads along the way from the one kind of pictures to the other: choose "
                         "other layers, or the weighting 'equal'.")
    with torch.inference_mode(False):  # as in `direction_from`
        layers = {layer: replace(each, vector=each.vector.clone() * weight.item(), lead=lead(moved[layer], way),
                                 weight=weight.item())
                  for (layer, each), weight in zip(direction.layers.items(), weights)}
    return replace(direction, layers=layers)


def _products(movements: Sequence[Tensor], way: Tensor) -> tuple[Tensor, Tensor]:
    """<m_k, m_l> (layers, layers) of movements (S, C, H, W), and <m_l, way> (layers,), in fp64.

    A few values of each at a time: those of all layers of a large network would take as much memory in fp64 as its
    pictures do many times over.
    """
    products = torch.zeros(len(movements), len(movements), dtype=torch.float64)
    along = torch.zeros(len(movements), dtype=torch.float64)
    for level in range(len(movements[0])):
        rows = [moved[level].flatten().split(VALUES_AT_ONCE) for moved in movements]
        for target, *values in zip(way.flatten().split(VALUES_AT_ONCE), *rows):
            columns = in_double(torch.stack(values))  # (layers, values)
            products += columns @ columns.T
            along += columns @ target
    return products, along


def straightness(moved: Tensor, way: Tensor) -> float:
    """The cosine between what predictions (S, C, H, W) have been moved by and the way (C, H, W), at all levels
    together; 0 where nothing has moved.

    >>> way = torch.tensor([3.0, 4.0]).reshape(1, 1, 2)
    >>> round(straightness(torch.stack([way, way.flip(2)]), way), 2), round(straightness(0.1 * way[None], way), 2)
    (0.98, 1.0)
    """
    moved = in_double(moved)
    return torch.nn.functional.cosine_similarity(moved.flatten(), in_double(way).expand_as(moved).flatten(),
                                                 dim=0).item()
