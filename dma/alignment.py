"""Progressive trajectory alignment: the mental average (arXiv 2603.29239).

K latents are denoised together. At each of the first `aligned_steps` noise levels the mean A of their features H is
taken, every latent is moved until its own features are A, and all take one deterministic step. Afterwards they decode
to one picture.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from torch import Tensor

from .batching import BatchSize
from .denoiser import Denoiser
from .diffusion import initial_latent, paper_scale, shell_norm
from .matching import Adam, Match
from .report import AlignedStep, AlignmentReport
from .sampling import restore_noise, sample, step_all
from .statistics import RunningMoments

# Costs in passes through the network up to the semantic layer; they only steer the progress bar.
BACKWARD_COST = 2.0
PREDICTION_COST = 6.0
RESTORED_NOISE_SEED = 0x5EED
SECONDS_BETWEEN_SAVES = 10.0
SECONDS_BETWEEN_PREVIEWS = 2.0


@dataclass(frozen=True)
class AlignmentSettings:
    """The choices of an alignment that its result depends on.

    count: K, the latents whose features are averaged (1 or more).
    aligned_steps: leading steps at which latents are matched to the mean.
    solver: how they are matched; its learning rate is in the papers' units if `paper_units`, else in ours.
    keep: how many of the aligned latents are denoised to the end and returned (1 ... count).
    target_updates: how often within a step the mean is taken anew; 1 is a target fixed for the whole step.
    carried: how many latents are matched and carried on after the first target has been taken from all K; 0 is all of
        them, as in the paper. Later targets are means over those carried, which agree already.
    restored_noise: share (0 ... 1) of the noise lost by averaging that is given back after the last aligned step, the
        same for all latents (`sampling.restore_noise`); 0 is the paper's method.
    """

    count: int = 64
    aligned_steps: int = 10
    solver: Adam = Adam()
    keep: int = 4
    seed: int = 0
    target_updates: int = 1
    paper_units: bool = True
    restored_noise: float = 0.0
    carried: int = 0

    def check(self, steps: int) -> None:
        """Raise ValueError with a sentence for the user if these settings make no sense for `steps` steps."""
        if self.count < 1:
            raise ValueError(f"count is {self.count}: a mental average needs at least 1 latent (64 is a good start).")
        if not 0 <= self.aligned_steps <= steps:
            raise ValueError(f"aligned_steps is {self.aligned_steps}, but there are only {steps} steps: "
                             "lower aligned_steps or raise steps.")
        if not 1 <= self.keep:
            raise ValueError(f"keep is {self.keep}: at least 1 finished latent has to be returned.")
        if self.target_updates < 1:
            raise ValueError("target_updates must be at least 1 (a fixed target).")
        if self.carried < 0:
            raise ValueError(f"carried is {self.carried}: use 0 to match all latents, or a positive number.")
        if not 0 <= self.restored_noise <= 1:
            raise ValueError(f"restored_noise is {self.restored_noise}: it must lie between 0 and 1.")


@dataclass(frozen=True)
class Alignment:
    """Finished latents (keep, C, H, W) and what was measured on the way."""

    latents: Tensor
    report: AlignmentReport


@dataclass(frozen=True)
class Progress:
    """Where a run stands: the share of its planned work, a line for the log, and perhaps a clean latent to show."""

    fraction: float
    message: str
    preview: Tensor | None = None


class SavedState(Protocol):
    """A place that keeps the state of one run; `dma.runs` has one on disk."""

    def load(self) -> tuple[dict[str, Tensor], dict] | None: ...

    def save(self, tensors: dict[str, Tensor], meta: dict) -> None: ...


def starting_noise(count: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal noise (count, *shape), the same that ComfyUI's KSampler draws for a batch with this seed."""
    return torch.randn((count, *shape), generator=torch.Generator("cpu").manual_seed(seed))


def align(denoiser: Denoiser, sigmas: Tensor, shape: tuple[int, ...], settings: AlignmentSettings,
          batch_size: int = 0, saved: SavedState | None = None,
          progress: Callable[[Progress], None] = lambda event: None) -> Alignment:
    """Align `settings.count` trajectories of latents of `shape` (C, H, W) along `sigmas` (S + 1,), falling to 0.

    `batch_size` 0 chooses the micro-batch; the result does not depend on it beyond rounding. With `saved`, the state
    is kept after every aligned step and at intervals inside one, and a state found there is gone on from.
    Raises ValueError for settings that make no sense.
    """
    settings.check(len(sigmas) - 1)
    if batch_size < 0:
        raise ValueError(f"batch_size is {batch_size}: use 0 for automatic, or a positive number.")
    run = _Run(denoiser, sigmas, shape, settings, batch_size, saved, progress)
    return run.to_the_end()


class _Run:
    """One alignment under way. `tensors` and `meta` together are everything a resumed run needs."""

    def __init__(self, denoiser, sigmas, shape, settings, batch_size, saved, progress):
        self.denoiser, self.sigmas, self.settings = denoiser, sigmas.tolist(), settings
        self.all_sigmas, self.saved, self.progress = sigmas, saved, progress
        self.batch = BatchSize(batch_size) if batch_size else BatchSize.automatic(torch.Size(shape).numel())
        self.started = self.last_save = self.last_preview = time.monotonic()
        self.preview: Tensor | None = None
        count = settings.count
        found = saved.load() if saved else None
        if found is not None:
            self.tensors, self.meta = found
        else:
            noise = starting_noise(count, shape, settings.seed)
            x = initial_latent(denoiser.parametrization, noise, self.sigmas[0])
            spread, _ = _spread_and_norm(noise)
            self.tensors = {"latents": x}
            self.meta = {"step": 0, "update": 0, "matched": 0, "records": [], "seconds": 0.0,
                         "initial_spread": spread, "finished": False}
        self.seconds_before = self.meta["seconds"]
        self.moving = min(count, max(settings.carried, settings.keep)) if settings.carried else count
        self.work_first = float(count - self.moving)  # what the first target costs more than later ones
        self.work_per_update = self.moving * (1 + (1 + BACKWARD_COST) * settings.solver.iterations)
        self.work_per_step = settings.target_updates * self.work_per_update + PREDICTION_COST * self.moving
        self.work_total = (self.work_first + settings.aligned_steps * self.work_per_step
                           + PREDICTION_COST * min(settings.keep, count) * (len(self.sigmas) - 1 - settings.aligned_steps))

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
        scale = paper_scale(self.denoiser.parametrization, sigma)
        spread, norm = _spread_and_norm(tensors["latents"] * scale)
        record = {"sigma": sigma, "mean_error": meta["mean_error"], "spread": spread, "norm": norm,
                  "residual_before": tensors.pop("residual_before").tolist(),
                  "residual_after": tensors.pop("residual_after").tolist(),
                  "iterations": tensors.pop("iterations").tolist()}
        done = self.work_first + (step + 1) * self.work_per_step - PREDICTION_COST * self.moving
        if step + 1 == settings.aligned_steps:
            # From here on nothing depends on the latents that are not returned.
            tensors["latents"] = tensors["latents"][: settings.keep]

        def after_batch(size: int, denoised: Tensor) -> None:
            nonlocal done
            done += PREDICTION_COST * size
            self.preview = denoised[:1]
            self.tell(done, f"aligned step {step + 1} of {settings.aligned_steps}: stepping all latents")

        tensors["latents"] = step_all(self.denoiser, tensors["latents"], sigma, sigma_next, self.batch, after_batch)
        meta["records"].append(record)
        meta.update(step=step + 1, update=0, matched=0)
        self.save()

    def take_target(self, sigma: float) -> None:
        """The mean of H over all latents and its standard error, streamed (methods: the target is fixed once taken)."""
        latents, moments = self.tensors["latents"], RunningMoments()

        def measure(rows: slice) -> Tensor:
            with torch.no_grad():
                return self.denoiser.features(latents[rows].to(self.denoiser.device), sigma)

        for rows, features in self.batch.over(len(latents), measure):
            moments.update(features)
            self.tell(self.work_done(0) - len(latents) + rows.stop, f"{self.where()}: averaging features")
        self.tensors["target"] = moments.mean.float()
        if len(latents) > self.moving:
            # Cloned, because a slice would keep all of them in memory.
            self.tensors["latents"] = latents = latents[: self.moving].clone()
        if self.meta["update"] == 0:
            self.meta["mean_error"] = moments.standard_error if moments.count > 1 else 0.0
            for name, dtype in (("residual_before", torch.float32), ("residual_after", torch.float32),
                                ("iterations", torch.int64)):
                self.tensors[name] = torch.zeros(len(latents), dtype=dtype)

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
            tensors["iterations"][rows] += matched.iterations.cpu()
            meta["matched"] = rows.stop
            now = time.monotonic()
            if now - self.last_preview > SECONDS_BETWEEN_PREVIEWS:
                self.last_preview = now
                self.preview = self.denoiser.denoise(latents[:1].to(self.denoiser.device), sigma)
            residual = tensors["residual_after"][: rows.stop].mean().item()
            self.tell(self.work_done(rows.stop), f"{self.where()}: matched {rows.stop} of {len(latents)}, residual {residual:.2g}")
            if rows.stop < len(latents) and now - self.last_save > SECONDS_BETWEEN_SAVES:
                self.save()

    def sample_the_rest(self) -> None:
        settings, step = self.settings, self.meta["step"]
        done = self.work_first + settings.aligned_steps * self.work_per_step

        def after_batch(size: int, denoised: Tensor) -> None:
            nonlocal done
            done += PREDICTION_COST * size
            self.preview = denoised[:1]
            self.tell(done, "sampling the finished latents")

        kept = self.tensors["latents"][: settings.keep]
        if settings.restored_noise and step and self.sigmas[step] > 0:
            # Not the seed of the starting noise, whose mean is what the latents have left.
            noise = starting_noise(1, tuple(kept.shape[1:]), settings.seed ^ RESTORED_NOISE_SEED)
            kept = restore_noise(self.denoiser, kept, self.sigmas[step], noise, settings.restored_noise, self.batch)
        self.tensors = {"latents": sample(self.denoiser, kept, self.all_sigmas[step:], self.batch, after_batch)}
        self.meta["finished"] = True
        self.save()

    def where(self) -> str:
        return f"aligned step {self.meta['step'] + 1} of {self.settings.aligned_steps}"

    def work_done(self, matched: int) -> float:
        """Planned work up to `matched` latents of the current round of matching."""
        inside = self.moving + matched / self.moving * (self.work_per_update - self.moving)
        return self.work_first + self.meta["step"] * self.work_per_step + self.meta["update"] * self.work_per_update + inside

    def tell(self, done: float, message: str) -> None:
        # A picture is worth decoding and sending once.
        preview, self.preview = self.preview, None
        self.progress(Progress(min(1.0, done / max(self.work_total, 1e-9)), message, preview))

    def save(self) -> None:
        self.meta["seconds"] = self.seconds_before + time.monotonic() - self.started
        if self.saved:
            self.saved.save(self.tensors, self.meta)
        self.last_save = time.monotonic()


def _spread_and_norm(z: Tensor) -> tuple[float, float]:
    """Root mean square distance from the mean, and root mean square norm, of latents (K, ...), both over sqrt(L)."""
    shell, flat = shell_norm(z), z.flatten(1).double()
    spread = (flat - flat.mean(0)).square().sum(1).mean().sqrt().item() / shell
    return spread, flat.square().sum(1).mean().sqrt().item() / shell
