"""Progressive trajectory alignment: the mental average (arXiv 2603.29239).

K latents are denoised together. At each of the first `aligned_steps` noise levels the mean A of their features H is
taken, every latent is moved until its own features are A, and all take one deterministic step. Afterwards they decode
to one picture.
"""
from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..diffusion import (
    Denoiser,
    NoiseRows,
    initial_latent,
    paper_scale,
    restore_noise,
    sample,
    starting_noise,
    step_all,
)
from ..execution import BatchSize, Pace, Progress, SavedState
from ..solvers import Match
from ..statistics import RunningMoments
from ._pace import PREDICTION_COST, Plan, seconds_left
from ._report import AlignedStep, AlignmentReport
from ._settings import AlignmentSettings
from ._start import Ensemble

RESTORED_NOISE_SEED = 0x5EED
SECONDS_BETWEEN_SAVES = 10.0
SECONDS_BETWEEN_PREVIEWS = 2.0
COUNTS = ("iterations", "forwards", "backwards")
# Latents after which the error of the first mean is looked at again, whatever the batch size.
BLOCK = 16


@dataclass(frozen=True)
class Alignment:
    """Finished latents (keep, C, H, W) and what was measured on the way."""

    latents: Tensor
    report: AlignmentReport


def align(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], settings: AlignmentSettings,
          batch_size: int = 0, saved: SavedState | None = None,
          progress: Callable[[Progress], None] = lambda event: None, ensemble: Ensemble | None = None) -> Alignment:
    """Align `settings.count` trajectories of latents of `shape` (C, H, W) along `sigmas` (S + 1,), falling to 0.

    They start from noise, or from an `ensemble` of as many latents, of which `settings.moving` members at most go on.

    `batch_size` 0 chooses the micro-batch; the result does not depend on it beyond rounding. With `saved`, the state
    is kept after every aligned step and at intervals inside one, and a state found there is gone on from.
    Raises ValueError for settings that make no sense.
    """
    settings.check(len(sigmas) - 1)
    if batch_size < 0:
        raise ValueError(f"batch_size is {batch_size}: use 0 for automatic, or a positive number.")
    if ensemble is not None:
        ensemble.check(settings.count, shape)
    run = _Run(denoiser, sigmas, shape, settings, batch_size, saved, progress, ensemble)
    return run.to_the_end()


class _Run:
    """One alignment under way. `tensors` and `meta` together are everything a resumed run needs."""

    def __init__(self, denoiser, sigmas, shape, settings, batch_size, saved, progress, ensemble):
        self.denoiser, self.sigmas, self.shape, self.settings = denoiser, sigmas.tolist(), shape, settings
        self.ensemble = ensemble
        self.moving = settings.moving if ensemble is None else min(settings.moving, len(ensemble.members))
        self.all_sigmas, self.saved, self.progress = sigmas, saved, progress
        self.batch = BatchSize(batch_size) if batch_size else BatchSize.automatic(torch.Size(shape).numel())
        self.started = self.last_save = self.last_preview = time.monotonic()
        self.preview: Tensor | None = None
        found = saved.load() if saved else None
        self.tensors, self.meta = found or ({}, {
            "step": 0, "update": 0, "matched": 0, "records": [], "seconds": 0.0, "count": settings.count,
            "pace": {}, "finished": False})
        self.pace = Pace(self.meta["pace"])
        self.seconds_before = self.meta["seconds"]
        left = self.meta.get("seconds_left")
        self.expected_end = None if left is None else time.monotonic() + left

    @property
    def plan(self) -> Plan:
        settings, count = self.settings, self.meta["count"]
        moving = min(count, self.moving)
        return Plan(count, moving, min(settings.keep, moving), settings.aligned_steps, len(self.sigmas) - 1,
                    settings.target_updates, settings.solver)

    def to_the_end(self) -> Alignment:
        settings, meta = self.settings, self.meta
        while meta["step"] < settings.aligned_steps and not meta["finished"]:
            self.align_one_step()
        if not meta["finished"]:
            self.sample_the_rest()
        report = AlignmentReport(
            settings={**asdict(settings), "sigmas": self.sigmas, "solver_name": type(settings.solver).__name__},
            initial_spread=meta["initial_spread"], steps=[AlignedStep(**record) for record in meta["records"]],
            seconds=meta["seconds"])
        return Alignment(self.tensors["latents"], report)

    def align_one_step(self) -> None:
        step, settings, tensors, meta = self.meta["step"], self.settings, self.tensors, self.meta
        sigma, sigma_next = self.sigmas[step], self.sigmas[step + 1]
        while meta["update"] < settings.target_updates:
            if "target" not in tensors:
                self.take_target(sigma)
            self.match_all(sigma)
            del tensors["target"]
            meta["update"], meta["matched"] = meta["update"] + 1, 0
        spread, norm = _spread_and_norm(_moments(tensors["latents"]), paper_scale(self.denoiser.parametrization, sigma))
        record = {"sigma": sigma, "mean_error": meta["mean_error"], "spread": spread, "norm": norm,
                  "mean_count": meta["count"] if step == 0 else len(tensors["latents"]),
                  **{name: tensors.pop(name).tolist() for name in ("residual_before", "residual_after", *COUNTS)}}
        if step + 1 == settings.aligned_steps:
            # From here on nothing depends on the latents that are not returned.
            tensors["latents"] = tensors["latents"][: settings.keep]
        done = self.plan.first + (step + 1) * self.plan.step - PREDICTION_COST * self.plan.moving
        tensors["latents"] = self.predicting(
            f"{self.where()}: stepping all latents", done,
            lambda heard: step_all(self.denoiser, tensors["latents"], sigma, sigma_next, batch=self.batch,
                                   after_batch=heard))
        meta["records"].append(record)
        meta.update(step=step + 1, update=0, matched=0)
        self.save()

    def take_target(self, sigma: float) -> None:
        """The mean of H and its standard error, streamed: over all latents at first, later over those that go on."""
        tensors, meta = self.tensors, self.meta
        moments = self.moments_of_all(sigma) if "latents" not in tensors else self.moments_of_moving(sigma)
        tensors["target"] = moments.mean.float()
        if meta["records"] and meta["update"] == 0:
            self.expect(moments.deviations.sum().item() / moments.weight / max(1e-30,
                                                                               moments.mean.square().sum().item()))
            # Matching may be one batch and take most of what is left.
            self.tell(self.work_before_matching(), f"{self.where()}: matching the mean")
        if meta["update"] == 0:
            meta["mean_error"] = moments.standard_error if moments.effective_count > 1 else 0.0
            for name in ("residual_before", "residual_after", *COUNTS):
                tensors[name] = torch.zeros(len(tensors["latents"]),
                                            dtype=torch.int64 if name in COUNTS else torch.float32)

    def moments_of_all(self, sigma: float) -> RunningMoments:
        """Draw latents, each needed only for its features, until the error of their mean is small enough or all are
        drawn.

        Those that go on are kept.
        """
        settings, ensemble = self.settings, self.ensemble
        starts, as_latents = self.starts(sigma)
        features, drawn, kept = RunningMoments(), RunningMoments(), []

        def measure(rows: slice) -> tuple[Tensor, Tensor]:
            z = starts[rows]
            return z, self.features(as_latents(z), sigma)

        def enough() -> bool:
            return (settings.mean_error > 0 and drawn.count % BLOCK == 0
                    and drawn.count >= max(settings.keep, settings.carried)
                    and features.standard_error <= settings.mean_error)

        for rows, (z, found) in self.batch.over(settings.count, measure):
            for part in _blocks(rows):
                kept.append(z[part][: max(0, self.moving - drawn.count)].clone())
                weights = None if ensemble is None else ensemble.weights[rows][part]
                features.update(found[part], weights)
                drawn.update(z[part], weights)
                if enough():
                    break
            self.pace.lap("mean", len(z))
            self.tell(rows.stop, f"{self.where()}: averaging features, error {features.standard_error:.2g}")
            if enough():
                break
        own = torch.cat(kept) if ensemble is None else starts[list(ensemble.members[: self.moving])]
        start = torch.lerp(drawn.mean.float(), own, settings.own_noise)  # exact at 0 and 1
        kept.clear()
        self.tensors["latents"] = as_latents(start)
        self.meta["count"] = drawn.count
        self.meta["initial_spread"], _ = _spread_and_norm(drawn)
        return features

    def starts(self, sigma: float) -> tuple[NoiseRows | Tensor, Callable[[Tensor], Tensor]]:
        """The starting latents in the papers' units, row by row, and the way from there to latents as they are
        carried."""
        parametrization = self.denoiser.parametrization
        if self.ensemble is None:
            noise = NoiseRows(self.settings.count, self.shape, self.settings.seed)
            return noise, lambda z: initial_latent(parametrization, z, sigma)
        scale = paper_scale(parametrization, sigma)
        return self.ensemble.latents * scale, lambda z: z / scale

    def moments_of_moving(self, sigma: float) -> RunningMoments:
        latents, moments = self.tensors["latents"], RunningMoments()
        for rows, found in self.batch.over(len(latents), lambda rows: self.features(latents[rows], sigma)):
            moments.update(found)
            self.pace.lap("mean", rows.stop - rows.start)
            self.tell(self.work_before_matching() - len(latents) + rows.stop, f"{self.where()}: averaging features")
        return moments

    def features(self, latents: Tensor, sigma: float) -> Tensor:
        with torch.no_grad():
            return self.denoiser.features(latents.to(self.denoiser.device), sigma)

    def match_all(self, sigma: float) -> None:
        tensors, meta, settings = self.tensors, self.meta, self.settings
        scale = paper_scale(self.denoiser.parametrization, sigma) if settings.paper_units else 1.0
        target = tensors["target"].to(self.denoiser.device)
        latents = tensors["latents"]

        def match(rows: slice) -> Match:
            start = latents[rows].to(self.denoiser.device) * scale
            return settings.solver.solve(lambda z: self.denoiser.features(z / scale, sigma), start, target)

        for rows, matched in self.batch.over(len(latents), match, first=meta["matched"]):
            latents[rows] = (matched.latents / scale).cpu()
            if meta["update"] == 0:
                tensors["residual_before"][rows] = matched.residual_before.cpu()
            tensors["residual_after"][rows] = matched.residual_after.cpu()
            for name in COUNTS:
                tensors[name][rows] += getattr(matched, name).cpu()
            meta["matched"] = rows.stop
            now = time.monotonic()
            if now - self.last_preview > SECONDS_BETWEEN_PREVIEWS:
                self.last_preview = now
                self.preview = self.denoiser.denoise(latents[:1].to(self.denoiser.device), sigma)
            residual = tensors["residual_after"][: rows.stop].mean().item()
            done = self.work_before_matching() + rows.stop / len(latents) * (self.plan.update - len(latents))
            self.tell(done, f"{self.where()}: matched {rows.stop} of {len(latents)}, residual {residual:.2g}")
            # With its previews, which later matches have too.
            self.pace.lap("match", matched.iterations.sum().item())
            if rows.stop < len(latents) and now - self.last_save > SECONDS_BETWEEN_SAVES:
                self.save()

    def sample_the_rest(self) -> None:
        settings, step, plan = self.settings, self.meta["step"], self.plan
        if "latents" not in self.tensors:
            starts, as_latents = self.starts(self.sigmas[0])
            z = starts[slice(0, plan.kept) if self.ensemble is None else list(self.ensemble.members[: plan.kept])]
            self.meta["initial_spread"], _ = _spread_and_norm(_moments(z))
            self.tensors["latents"] = as_latents(z)
        kept = self.tensors["latents"][: settings.keep]
        if settings.restored_noise and step and self.sigmas[step] > 0:
            # Not the seed of the starting noise, whose mean is what the latents have left.
            noise = starting_noise(1, tuple(kept.shape[1:]), settings.seed ^ RESTORED_NOISE_SEED)
            kept = restore_noise(self.denoiser, kept, self.sigmas[step], noise, settings.restored_noise,
                                 batch=self.batch)
        finished = self.predicting(
            "sampling the finished latents", plan.first + settings.aligned_steps * plan.step,
            lambda heard: sample(self.denoiser, kept, self.all_sigmas[step:], batch=self.batch, after_batch=heard))
        self.tensors = {"latents": finished}
        self.meta["finished"] = True
        self.save()

    def predicting(self, message: str, done: float, function: Callable[[Callable], Tensor]) -> Tensor:
        """Call `function` with what it has to call after each batch of predictions; `done` is the planned work
        before."""
        def heard(size: int, denoised: Tensor) -> None:
            nonlocal done
            done += PREDICTION_COST * size
            self.preview = denoised[:1]
            self.pace.lap("predict", size)
            if self.meta["step"] == self.settings.aligned_steps:
                self.expected_end = (time.monotonic()
                                     + self.pace.seconds("predict", (self.plan.total - done) / PREDICTION_COST))
            self.tell(done, message)

        return function(heard)

    def where(self) -> str:
        return f"aligned step {self.meta['step'] + 1} of {self.settings.aligned_steps}"

    def work_before_matching(self) -> float:
        """Planned work up to the moment when the current target has been taken."""
        plan = self.plan
        return plan.first + self.meta["step"] * plan.step + self.meta["update"] * plan.update + plan.moving

    def expect(self, residual: float) -> None:
        """Estimate anew when the run will end, from the mean residual to the target that was just taken."""
        records = [AlignedStep(**record) for record in self.meta["records"]]
        self.expected_end = time.monotonic() + seconds_left(self.pace, self.plan, records, residual)

    def tell(self, done: float, message: str) -> None:
        # A picture is worth decoding and sending once.
        preview, self.preview = self.preview, None
        self.progress(Progress(min(1.0, done / self.plan.total), message, preview, self.seconds_left()))

    def seconds_left(self) -> float | None:
        return None if self.expected_end is None else max(0.0, self.expected_end - time.monotonic())

    def save(self) -> None:
        self.meta["seconds"] = self.seconds_before + time.monotonic() - self.started
        self.meta.update(pace=self.pace.state, seconds_left=self.seconds_left())
        if self.saved:
            self.saved.save(self.tensors, self.meta)
        self.last_save = time.monotonic()


def _blocks(rows: slice) -> list[slice]:
    """Parts of rows, counted from their first, that end where BLOCK divides the number of a row, or with the rows."""
    edges = [rows.start, *range(rows.start - rows.start % BLOCK + BLOCK, rows.stop, BLOCK), rows.stop]
    return [slice(start - rows.start, stop - rows.start) for start, stop in zip(edges, edges[1:])]


def _moments(rows: Tensor) -> RunningMoments:
    moments = RunningMoments()
    for part in rows.split(BLOCK):
        moments.update(part)
    return moments


def _spread_and_norm(moments: RunningMoments, scale: float = 1.0) -> tuple[float, float]:
    """Root mean square distance from the mean, and root mean square norm, of latents times `scale`, both over
    sqrt(L)."""
    spread = moments.deviations.sum().item() / moments.weight
    shell = math.sqrt(moments.mean.numel()) / scale
    return math.sqrt(spread) / shell, math.sqrt(spread + moments.mean.square().sum().item()) / shell
