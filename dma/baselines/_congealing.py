"""The aligned pixel mean: pictures warped onto each other before they are averaged. A stand-in for GANgealing.

GANgealing (Peebles et al. 2022, arXiv 2112.05143) trains one network on a GAN's samples, which warps each picture, by a
similarity and then a smooth flow, onto a target that it learns beside; the mean of warped pictures is its average. That
needs a GAN of the concept, which a text-to-image model is not. What is kept here is what it does to pictures, found for
each picture on its own, by congealing (Learned-Miller 2006): every picture is warped so that it comes nearer to the
mean of all others as they are warped now, again and again, first by similarities, then by flows as well:

    minimise over warps T_k   sum_k d(T_k x_k, mean of T_j x_j, j != k) + roughness of the flows

This is a choice of ours wherever GANgealing trains: no result of that method can be expected of it in its details.
"""
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..execution import BatchSize, Event, Iteration, Watcher, drive, retold
from ..statistics import finite_rows
from ._congealing_state import CongealingState
from ._robust_mean import trimming
from ._warps import warped

# Of pictures (B, 3, H, W), feature maps (B, ...), several of them: differentiable.
Features = Callable[[Tensor], Sequence[Tensor]]

# Part of the key of every saved run. Raise the number when one of the same settings gives other warps than before.
CONGEALING_ALGORITHM = "congealing 1"
SMALLEST_LEVEL = 8  # pixels of the shorter side of the coarsest level
FIRST_BATCH = 32
PASSES_BESIDES = 3  # over all pictures or places, whatever the rounds: made small, warped at full size, averaged
COMPARISONS = 2  # passes over several pictures that measure distances: before all rounds and after
SLOWER_BY_ROUND = 0.8  # of the learning rate, so that the last rounds settle


@dataclass(frozen=True)
class CongealingSettings:
    """The choices of congealing, all our own.

    similarity_rounds, flow_rounds: how often all pictures are moved towards the mean, by similarities alone and by both
    together. iterations: steps of Adam in a round. resolution: the longer side, in pixels, at which pictures are
    compared; they are warped at their own. flow_grid: G, a flow has G x G displacements. smoothness: weight of the
    flows' roughness. trim: the share of the values left out at each end where the mean is taken (`trimmed_mean`).
    """

    similarity_rounds: int = 10
    flow_rounds: int = 5
    iterations: int = 20
    learning_rate: float = 0.03
    resolution: int = 64
    flow_grid: int = 6
    smoothness: float = 0.3
    trim: float = 0.2

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        if min(self.similarity_rounds, self.flow_rounds) < 0:
            raise ValueError(f"There are {self.similarity_rounds} and {self.flow_rounds} rounds: use 0 or more.")
        if self.iterations < 1 or self.resolution < 8 or self.flow_grid < 2:
            raise ValueError(f"iterations is {self.iterations}, resolution {self.resolution} and flow_grid "
                             f"{self.flow_grid}: they must be at least 1, 8 and 2.")
        if not (0 < self.learning_rate < 1 and 0 <= self.smoothness < float("inf")):
            raise ValueError(f"learning_rate is {self.learning_rate} and smoothness {self.smoothness}: use a rate "
                             "between 0 and 1, and a finite weight of 0 or more.")
        if not 0 <= self.trim < 0.5:
            raise ValueError(f"trim is {self.trim}: it must lie between 0 (the plain mean) and below 0.5 (the median).")

    def passes(self, count: int) -> int:
        """How many passes over all it takes with so many pictures, each of which ends with an event."""
        return PASSES_BESIDES + (COMPARISONS if count > 1 else 0) + self.rounds(count)

    def rounds(self, count: int) -> int:
        """How many rounds there are of so many pictures."""
        return self.similarity_rounds + self.flow_rounds if count > 1 else 0


@dataclass(frozen=True, eq=False)
class AlignedMean:
    """What `aligned_mean` found.

    mean: the average (1, H, W, 3). aligned: the pictures as they were warped (N, H, W, 3). similarities (N, 4) and
    flows (N, 2, G, G): the warps of `warped`. distance_before, distance_after: the mean distance of a picture to the
    mean of all others, unmoved and warped.
    """

    mean: Tensor
    aligned: Tensor
    similarities: Tensor
    flows: Tensor
    distance_before: float
    distance_after: float


def aligned_mean(pictures: Tensor, settings: CongealingSettings = CongealingSettings(), *,
                 features: Features | None = None, batch: BatchSize | None = None,
                 watchers: Sequence[Watcher] = (), state: CongealingState | None = None) -> AlignedMean:
    """The mean of pictures (N, H, W, 3) in [0, 1] after congealing, robust against what did not align; on the CPU,
    where all of it is done: pictures are small where warps are sought.

    features: what pictures are compared by, at the settings' resolution; the distance is the sum over its maps of their
    mean squared difference. Left out, these are the pictures themselves at several scales, each half the last
    (`scales`): coarse ones feel a place from afar, fine ones settle it. The result does not depend on `batch` beyond
    rounding; nothing is drawn at random. state: one that a run of the same pictures and settings was left in, to go on
    from.

    A single picture comes back as it is. Raises ValueError for settings that make no sense, and unless there are
    pictures, all finite.
    """
    settings.check()
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or not len(pictures):
        raise ValueError(f"Pictures have the shape (N, H, W, 3), but these are {tuple(pictures.shape)}.")
    if not finite_rows(pictures).all():
        raise ValueError("The pictures contain NaN or infinity: look for what made them.")
    state = state or CongealingState()
    return drive(congealing(pictures, settings, features or scales, batch or BatchSize(FIRST_BATCH), state), state,
                 watchers)


def congealing(pictures: Tensor, settings: CongealingSettings, features: Features, batch: BatchSize,
               state: CongealingState) -> Generator[Event, None, AlignedMean]:
    """The loop of `aligned_mean`: works on `state` from where it stands to its end. Events are of the kinds "resize"
    and "warp" (a picture or a few, before and after all rounds), "compare" (a micro-batch, then too), "align" (each
    iteration and each micro-batch of each round), "round" (after each) and "mean" (a part of the places)."""
    small = yield from _resized(pictures, settings.resolution)  # (N, 3, h, w)
    state.open(len(small), settings.flow_grid)
    before = yield from _distances(small, features, batch)
    present = _warped(small, state) if state.rounds else small  # the pictures as they are warped now
    for number in range(state.rounds, settings.rounds(len(small))):
        with_flow = number >= settings.similarity_rounds
        rate = settings.learning_rate * SLOWER_BY_ROUND ** (number - with_flow * settings.similarity_rounds)
        yield from _round(small, present, with_flow, rate, settings, features, batch, state)
        state.close_round()
        present = _warped(small, state)
        yield Event("round", 0.0, closes=True)
    similarities, flows = state.similarities, state.flows
    aligned = torch.empty_like(pictures, dtype=torch.float32, device="cpu")
    for row, picture in enumerate(pictures):
        whole = picture.detach().cpu().float().permute(2, 0, 1)[None]  # (1, 3, H, W)
        aligned[row] = warped(whole, similarities[row, None], flows[row, None])[0].permute(1, 2, 0)
        yield Event("warp", 1, row + 1, len(pictures))
    after = yield from _distances(present, features, batch)
    mean = yield from trimming(aligned, settings.trim)
    return AlignedMean(mean, aligned, similarities, flows, before, after)


def _warped(small: Tensor, state: CongealingState) -> Tensor:
    """Pictures (N, 3, h, w) by the warps that the present round begins with."""
    parts = (slice(first, first + FIRST_BATCH) for first in range(0, len(small), FIRST_BATCH))
    return torch.cat([warped(small[rows], state.similarities[rows], state.flows[rows]) for rows in parts])


def _round(small: Tensor, present: Tensor, with_flow: bool, rate: float, settings: CongealingSettings,
           features: Features, batch: BatchSize, state: CongealingState) -> Generator[Event, None, None]:
    """All pictures (N, 3, h, w) that have not been yet are moved towards the mean of the others as they are warped at
    `present`."""
    total = present.sum(0)

    def match(rows: slice) -> Generator[Event, None, None]:
        others = (total - present[rows]) / (len(present) - 1)
        steps = _matched(small[rows], others, state.similarities[rows], state.flows[rows], with_flow, rate, settings,
                         features)
        similarities, flows, distance = yield from retold(steps, lambda step: step.event("align", rows, len(small)))
        state.take(rows, similarities, flows)
        yield Event("align", rows.stop - rows.start, rows.stop, len(small), value=distance, changed=True)

    yield from batch.through(len(small), match, first=state.done)


def _matched(pictures: Tensor, others: Tensor, similarities: Tensor, flows: Tensor, with_flow: bool, rate: float,
             settings: CongealingSettings,
             features: Features) -> Generator[Iteration, None, tuple[Tensor, Tensor, float]]:
    """The best warps on the way of Adam, of each picture alone, and their mean distance to the others; tells of each
    iteration."""
    with torch.no_grad():
        targets = [each.detach() for each in features(others)]
    leaves = [similarities.clone(), flows.clone()][: 1 + with_flow]
    best, kept = torch.full((len(pictures),), torch.inf), [each.clone() for each in leaves]
    for leaf in leaves:
        leaf.requires_grad_()
    optimizer = torch.optim.Adam(leaves, lr=rate)
    for step in range(settings.iterations + 1):
        with torch.enable_grad():
            moving = leaves[1] if with_flow else flows
            loss = _distance(features(warped(pictures, leaves[0], moving)), targets)  # (B,)
            loss = loss + settings.smoothness * roughness(moving)
        better = loss.detach() < best
        best = torch.where(better, loss.detach(), best)
        for keep, leaf in zip(kept, leaves):
            keep[better] = leaf.detach()[better]
        if step < settings.iterations:
            for leaf, gradient in zip(leaves, torch.autograd.grad(loss.sum(), leaves)):
                leaf.grad = gradient
            optimizer.step()
            yield Iteration(step + 1, settings.iterations)
    return kept[0], kept[1] if with_flow else flows, best.mean().item()


def scales(pictures: Tensor) -> list[Tensor]:
    """Pictures (B, 3, H, W) at several scales, each of half the last one's size, as long as 8 pixels are left.

    >>> [tuple(each.shape[2:]) for each in scales(torch.zeros(1, 3, 32, 40))]
    [(32, 40), (16, 20), (8, 10)]
    """
    found = [pictures]
    while min(found[-1].shape[2:]) >= 2 * SMALLEST_LEVEL:
        found.append(F.avg_pool2d(found[-1], 2))
    return found


def roughness(flows: Tensor) -> Tensor:
    """The mean squared difference of neighbouring displacements, times the grid's size squared, and a hundredth of
    their mean square, (B,), of flows (B, 2, G, G): 0 for no flow only.

    >>> roughness(torch.zeros(1, 2, 4, 4)).item()
    0.0
    """
    steps = sum(flows.diff(dim=axis).square().flatten(1).mean(1) for axis in (2, 3))
    return flows.shape[-1] ** 2 * steps + 0.01 * flows.square().flatten(1).mean(1)


def _distance(found: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    return torch.stack([(each - target).square().flatten(1).mean(1) for each, target in zip(found, targets)]).sum(0)


def _distances(present: Tensor, features: Features, batch: BatchSize) -> Generator[Event, None, float]:
    """The mean distance of pictures (N, 3, h, w) to the mean of all others."""
    if len(present) == 1:
        return 0.0
    total = present.sum(0)

    @torch.no_grad()
    def measure(rows: slice) -> Tensor:
        others = (total - present[rows]) / (len(present) - 1)
        return _distance(features(present[rows]), features(others))

    distances = []
    for rows, found in batch.over(len(present), measure):
        distances.append(found)
        yield Event("compare", rows.stop - rows.start, rows.stop, len(present))
    return torch.cat(distances).mean().item()


def _resized(pictures: Tensor, resolution: int) -> Generator[Event, None, Tensor]:
    """Pictures (N, H, W, 3) as (N, 3, h, w), the longer side at most so many pixels."""
    height, width = pictures.shape[1:3]
    size = [max(1, round(side * min(1.0, resolution / max(height, width)))) for side in (height, width)]
    found, done = [], 0
    for part in pictures.split(FIRST_BATCH):
        found.append(F.interpolate(part.detach().cpu().float().permute(0, 3, 1, 2), size, mode="bilinear",
                                   antialias=True, align_corners=False))
        done += len(part)
        yield Event("resize", len(part), done, len(pictures))
    return torch.cat(found)
