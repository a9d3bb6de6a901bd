"""A patch of a MODEL that records how much predictions still move in the last steps of a sampling.

What is recorded is found again by the finished latents themselves. ComfyUI keeps what a node has given, and does not
run a KSampler again whose inputs are the same, while it may make the patched MODEL anew; and between a KSampler and the
node that reads, batches are joined and taken apart. So records lie in one place for the whole process, each under the
values of its latent, and neither a MODEL nor a LATENT has to carry them.
"""
from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...dma.metrics import trailing_variance
from ._sampling_kind import SamplingKind, kind_of, name_of

KEY = "mental_averages_recording"
MOST_RECORDS = 2**16
# Of the device, for the predictions of one sampling: copies to the CPU would wait for it at every step.
MOST_ON_DEVICE = 2**27  # bytes


@dataclass(frozen=True)
class Recorded:
    """Of one finished latent: its score (see `trailing_variance`), the noise levels of the steps, falling, and what the
    sampling was of."""

    score: float
    levels: tuple[float, ...]
    kind: SamplingKind


class _Records:
    """What was recorded, by the latents' values; the oldest goes where there are too many."""

    def __init__(self, most: int):
        self.most, self.lock = most, threading.Lock()
        self.by_latent: OrderedDict[bytes, Recorded] = OrderedDict()

    def put(self, latents: Tensor, scores: Tensor, levels: tuple[float, ...], kind: SamplingKind) -> None:
        with self.lock:
            for key, score in zip(_keys(latents), scores.tolist()):
                self.by_latent[key] = Recorded(score, levels, kind)
                self.by_latent.move_to_end(key)
            while len(self.by_latent) > self.most:
                self.by_latent.popitem(last=False)

    def of(self, latents: Tensor) -> list[Recorded | None]:
        with self.lock:
            return [self.by_latent.get(key) for key in _keys(latents)]


_RECORDS = _Records(MOST_RECORDS)


def _keys(latents: Tensor) -> list[bytes]:
    """A key for each row of LATENT samples, whatever shape they are carried in."""
    # Core hands samples on in this type.
    rows = latents.detach().cpu().to(comfy.model_management.intermediate_dtype()).float().flatten(1)
    return [hashlib.sha256(row.contiguous().numpy().tobytes()).digest() for row in rows]


def remember(latents: Tensor, scores: Tensor, levels: tuple[float, ...], kind: SamplingKind) -> None:
    """Put scores (N,) of finished latents (N, ...), as LATENT has them, among what has been recorded."""
    _RECORDS.put(latents, scores, levels, kind)


def recorded(latents: Tensor) -> list[Recorded | None]:
    """What was recorded of each of the samples (N, ...) of a LATENT; None where there is nothing."""
    return _RECORDS.of(latents)


@dataclass(frozen=True)
class Recorder:
    """Records the last steps of every sampling that ends in clean latents and has as many steps.

    Of core's samplers it hears as the progress bar does: of one prediction a step, after all guidance, however often
    the sampler asks the model. Of this pack's own loops, which hold latents of their own and ask for more than steps,
    it hears by `ComfyDenoiser.stepped`. It changes nothing that a sampling computes.
    """

    last_steps: int

    def levels(self, sigmas: Tensor) -> tuple[float, ...] | None:
        """The noise levels of the last steps of a schedule; None for one that is too short or ends in noise."""
        if len(sigmas) - 1 < self.last_steps or sigmas[-1] != 0:
            return None
        return tuple(sigmas[-1 - self.last_steps : -1].tolist())

    def around_sampling(self, executor: Callable, noise: Tensor, latent_image: Tensor, sampler: Any, sigmas: Tensor,
                        denoise_mask: Tensor | None = None, callback: Callable | None = None, *arguments: Any,
                        **keywords: Any) -> Any:
        levels = self.levels(sigmas)
        if levels is None or getattr(sampler, "tells_steps", False):
            return executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, *arguments, **keywords)
        kind = kind_of(executor.class_obj, name_of(sampler), sigmas)
        last: deque[Tensor] = deque(maxlen=self.last_steps)

        def heard(step: int, clean: Any, x: Any, steps: int) -> Any:
            if isinstance(clean, Tensor):
                fits = torch.float32.itemsize * clean.numel() * self.last_steps <= MOST_ON_DEVICE
                # A copy: samplers work in place.
                last.append(clean.detach().to(clean.device if fits else "cpu", torch.float32, copy=True))
            return callback(step, clean, x, steps) if callback is not None else None

        output = executor(noise, latent_image, sampler, sigmas, denoise_mask, heard, *arguments, **keywords)
        if len(last) == self.last_steps and all(each.shape == output.shape for each in last):
            _put(output, last, levels, kind)
        return output


class StepRecord:
    """What a Recorder hears of one sampling by steps; it belongs to one ComfyDenoiser and its parts.

    A sampling counts that goes through all last levels one after the other, whatever else a node samples before or
    after. Of its latents the first may go on without the others, as those do that an alignment returns.
    """

    def __init__(self, levels: tuple[float, ...], kind: SamplingKind, finished: Callable[[Tensor], Tensor]):
        self.levels, self.kind, self.finished = levels, kind, finished
        self.predictions: list[Tensor] = []

    def stepped(self, sigma: float, following: float, rows: slice, clean: Tensor, latents: Tensor) -> None:
        """As `dma.diffusion.ListeningDenoiser` hears of it."""
        place = next((place for place, level in enumerate(self.levels) if math.isclose(sigma, level, rel_tol=1e-6)),
                     None)
        if place is None:
            return
        if rows.start == 0:
            fits = len(self.predictions) >= place and all(len(each) >= len(latents) for each in self.predictions)
            self.predictions = [each[: len(latents)] for each in self.predictions[:place]] if fits else []
            if fits:
                self.predictions.append(torch.empty(latents.shape, device="cpu"))
        if len(self.predictions) != place + 1:
            return
        self.predictions[place][rows] = clean.detach().to("cpu", torch.float32)
        if place == len(self.levels) - 1 and rows.stop == len(latents):
            if following == 0:
                _put(self.finished(latents), self.predictions, self.levels, self.kind)
            self.predictions = []


def _put(finished: Tensor, predictions: Sequence[Tensor], levels: tuple[float, ...], kind: SamplingKind) -> None:
    try:
        scores = trailing_variance(list(predictions))
    except ValueError:
        return  # a sampling of NaN, or of values whose squares overflow, ends as it would without being recorded
    remember(finished, scores, levels, kind)


def recording_model(model: Any, last_steps: int) -> Any:
    """A copy of a MODEL whose samplings are recorded; an earlier recorder gives way."""
    model = model.clone()
    model.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, KEY)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, Recorder(last_steps).around_sampling)
    return model


def step_records(guider: Any, model_options: dict, sigmas: Tensor, sampler: str,
                 finished: Callable[[Tensor], Tensor]) -> list[StepRecord]:
    """What has to hear of the steps of a guider's sampling along a schedule, by the recorders among a model's options.

    finished: makes LATENT samples of the sampling's latents (K, C, H, W).
    """
    wrappers = model_options.get("transformer_options", {}).get("wrappers", {})
    recorders = [wrapper.__self__ for wrapper in wrappers.get(WrappersMP.OUTER_SAMPLE, {}).get(KEY, [])]
    found = [levels for recorder in recorders if (levels := recorder.levels(sigmas)) is not None]
    kind = kind_of(guider, sampler, sigmas) if found else None
    return [StepRecord(levels, kind, finished) for levels in found if kind is not None]
