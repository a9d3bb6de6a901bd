"""Null-text optimisation (arXiv 2211.09794): a way back from an inversion that holds at high guidance.

An inversion at guidance 1 is the pivot. Sampling at guidance w leaves it, so at every step from the noise down the
unconditional embedding is optimised until the guided step lands on the pivot's next latent, and is kept for that step.
Every latent has embeddings of its own.
"""
from __future__ import annotations

import functools
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..diffusion import EmbeddingDenoiser, at_step, check_finite, deterministic_step, noise_of, of_rows, paper_scale
from ..execution import BatchSize, Clock, Event, Iteration, Watcher, choose_batch, drive, retold
from ..loss_scale import LossScale, backward
from ..solvers import AdamMoments, Backtracking, BestRows
from ._cost import Cost
from ._invert import Inversion
from ._norms import nominal_norms, relative_distances
from ._report import InversionReport, InvertedStep
from ._round_trip import round_trip
from ._state import State
from ._trajectory import ends_of
from ._velocity import Velocity


@dataclass(frozen=True)
class NullText:
    """The choices of the optimisation; the defaults are those of the method for 50 steps.

    At step i of S from the noise Adam starts afresh with rate learning_rate (1 - i / 2S) from the embeddings of the
    step before, and a latent stops when its loss is below tolerance + tolerance_rise i / S. The method's own constants,
    1 - i / 100 and 2e-5 i, are these at 50 steps; counted in shares of the steps they make sense for any number.
    """

    iterations: int = 10
    learning_rate: float = 1e-2
    tolerance: float = 1e-5
    tolerance_rise: float = 1e-3
    name: ClassVar[str] = "null_text"

    def resume(self, latents: Tensor, companion: Tensor | None) -> State:
        if companion is None:
            raise ValueError("A null-text trajectory cannot be sampled without its unconditional embeddings.")
        return latents, companion

    def descend(self, velocity: Velocity, state: State, levels: Sequence[float], index: int) -> State:
        x, embeddings = state  # (B, C, H, W), (B, S, T, D)
        slope = velocity(x, levels[index], embedding=embeddings[:, index - 1])
        return x + (levels[index - 1] - levels[index]) * slope, embeddings


def pivot_loss(denoiser: EmbeddingDenoiser, x: Tensor, sigma: float, sigma_next: float, pivot: Tensor,
               embedding: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared distance (B,) of a guided step from `x` to the pivot (B, C, H, W), and the latent it leads to.

    In the papers' units z at the lower level, in which the method's tolerances are stated.
    """
    lower = deterministic_step(x, denoiser.denoise_with(x, sigma, embedding), sigma, sigma_next)
    scale = paper_scale(denoiser.parametrization, sigma_next)
    return (scale * (lower - pivot)).square().flatten(1).mean(1), lower


def optimise_null_text(denoiser: EmbeddingDenoiser, inverted: Inversion, *, settings: NullText = NullText(),
                       batch: BatchSize | None = None, measure: bool = True,
                       watchers: Sequence[Watcher] = ()) -> Inversion:
    """An inversion with unconditional embeddings (B, S, T, D) for every latent and step as its companion.

    `denoiser` is guided; the pivot was inverted at guidance 1 with the same prompt and with `whole`, and its calls and
    seconds are counted in. In the report a step's residual is how far the way back, with the embeddings found, is from
    the pivot, relative to the pivot's norm, and its iterations are those of the optimiser. With `measure` the round
    trip is taken as well.

    Events are of the kind "fit", one for each iteration and each micro-batch of each step; those of the round trip are
    "descend". Raises ValueError for a pivot without its latents in between, and, as NotFiniteError that names the step,
    where the model predicts NaN or infinity.
    """
    kept, levels = len(inverted.trajectory.latents), len(inverted.trajectory.levels)
    if kept != levels:
        raise ValueError(f"The pivot has {levels} noise levels, but latents of {kept} of them: invert with whole=True.")
    batch, cost = choose_batch(batch, inverted.trajectory.latents.shape[2:]), Cost(inverted.report.seconds)
    return drive(optimising(denoiser, inverted, settings, batch, measure, cost), cost, (Clock(), *watchers))


def optimising(denoiser: EmbeddingDenoiser, inverted: Inversion, settings: NullText, batch: BatchSize, measure: bool,
               cost: Cost) -> Generator[Event, None, Inversion]:
    """The loop of `optimise_null_text`."""
    pivot = inverted.trajectory
    levels, steps, count = pivot.levels, len(pivot.levels) - 1, pivot.latents.shape[1]
    start = denoiser.unconditional_embedding().detach().to("cpu", torch.float32)  # (1, T, D)
    embeddings = torch.empty((count, steps, *start.shape[1:]))
    x, current = pivot.latents[-1].clone(), start.repeat(count, 1, 1)  # (B, C, H, W), (B, T, D)
    records: list[InvertedStep] = []
    retries = 0
    for step in range(steps):
        index = steps - step
        rate = settings.learning_rate * (1 - step / (2 * steps))
        tolerance = settings.tolerance + settings.tolerance_rise * step / steps

        taken: list[int] = []

        def fit(rows: slice) -> Generator[Event, None, None]:
            nonlocal retries
            upper, goal, found = (part.to(denoiser.device)
                                  for part in (x[rows], pivot.latents[index - 1, rows], current[rows]))
            iterates = _fit(of_rows(denoiser, rows), upper, goal, found, levels[index], levels[index - 1], rate,
                            settings.iterations, tolerance)
            embedding, lower, iterations, again = yield from retold(
                iterates, lambda iterate: iterate.event("fit", rows, count))
            embeddings[rows, index - 1] = current[rows] = embedding.cpu()
            x[rows] = check_finite(lower.cpu(), "The latents predicted", levels[index])
            taken.extend(iterations.tolist())
            retries += again.sum().item()
            yield Event("fit", rows.stop - rows.start, rows.stop, count)

        with at_step(step + 1, steps):
            yield from batch.through(count, fit)
        noise = noise_of(pivot.parametrization, pivot.latents[index], levels[index])
        records.insert(0, InvertedStep(levels[index], relative_distances(x, pivot.latents[index - 1]).tolist(), taken,
                                       nominal_norms(noise)))
    trajectory = replace(pivot, latents=torch.stack(ends_of(list(pivot.latents))), method=settings,
                         companion=embeddings)
    error = (yield from round_trip(denoiser, trajectory, batch)) if measure else None
    calls = inverted.report.calls + retries / count + sum(sum(record.iterations) / count + 1 for record in records)
    choices = {"method": settings.name, **asdict(settings), "count": count, "sigmas": list(levels)}
    return Inversion(trajectory, InversionReport(choices, records, error, calls, cost.seconds))


def _fit(denoiser: EmbeddingDenoiser, x: Tensor, pivot: Tensor, embedding: Tensor, sigma: float, sigma_next: float,
         rate: float, iterations: int,
         tolerance: float) -> Generator[Iteration, None, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Best embeddings (B, T, D) of one step, the latents they lead to, the iterations taken (B,), and how many passes
    (B,) had to be taken again because something overflowed; tells of each iteration."""
    best = BestRows(torch.full((len(x),), torch.inf, device=x.device), embedding.clone(),
                    torch.full_like(x, torch.nan))
    taken, again = (torch.zeros(len(x), dtype=torch.int64, device=x.device) for _ in range(2))
    active = torch.arange(len(x), device=x.device)  # latents still moving
    moments, moves = AdamMoments(embedding), Backtracking(embedding, torch.zeros_like(embedding))
    scale = LossScale(len(x))
    for iteration in range(iterations + 1):
        embedding = embedding.detach().requires_grad_()
        last = iteration == iterations
        step = functools.partial(pivot_loss, of_rows(denoiser, active.tolist()), x[active], sigma, sigma_next,
                                 pivot[active], embedding)
        with torch.set_grad_enabled(not last):
            loss, reached = step()
        best.update(active, loss.detach(), embedding.detach(), reached.detach())
        going = ~(loss.detach() <= tolerance)
        if last or not going.any():
            break
        pull = 2 * (loss.detach() / x[0].numel()).sqrt()  # root mean square of the loss's gradient by the latent
        # Nothing is tried again for latents that are done.
        pull = torch.where(going, pull, 0.0)
        gradient = scale.apply(backward(lambda: step()[0], embedding, loss), torch.ones_like(pull), pull)
        again[active] = scale.retries.to(again.device)
        active = active[going]
        moments.keep(going)
        moves.keep(going)
        scale.keep(going)
        embedding, gradient = moves.accepted(embedding.detach()[going], gradient[going], loss.detach()[going])
        embedding = moves.towards(embedding - moments.step(gradient, rate))
        taken[active] += 1
        yield Iteration(iteration + 1, iterations)
    embeddings, lower = best.items
    return embeddings, lower, taken, again
