"""A patch of a MODEL that pushes what it predicts away from an average, towards it, or along a direction."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...dma import steering
from ._latents import as_pictures, described
from ._noise_law import levels_between

KEY = "mental_averages_push"


@dataclass(frozen=True, eq=False)
class Push:
    """What core's samplers call after guidance, in the part of a sampling from start_percent to end_percent.

    reference: an average (1, C, H, W) in the units that the model works in, from which predictions are pushed, or with
    `along` a direction along which they are. Percents are those of ConditioningSetTimestepRange, both ends included.

    Made of numbers and a tensor alone, so that the key of a run reads all of it. Raises ValueError for a reference that
    is not finite, or not one latent.
    """

    reference: Tensor
    along: bool
    strength: float
    start_percent: float
    end_percent: float
    # What one sampling asks for at every step: the reference by device and type, and for each schedule, kept beside
    # what was read of it, the noise levels of the range. Forgotten when the sampling ends.
    placed: dict[tuple[torch.device, torch.dtype], Tensor] = field(default_factory=dict, init=False, repr=False)
    ranges: dict[int, tuple[Any, float, float]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        steering.pushed_along(self.reference, self.reference, strength=self.strength)  # for what it refuses

    def __call__(self, arguments: dict[str, Any]) -> Tensor:
        """The prediction (B, C, H, W), or (B, C, 1, H, W) in the form of a video, pushed where the sampling is in the
        range; elsewhere the very tensor that came."""
        denoised, sigma = arguments["denoised"], arguments["sigma"][0].item()
        lowest, highest = self.range_in(arguments["model"].model_sampling)
        if not lowest <= sigma <= highest:
            return denoised
        clean = self.fitting(denoised)
        push = steering.pushed_along if self.along else steering.pushed_from
        return push(clean, self.reference_as(clean), strength=self.strength, checked=True).view(denoised.shape)

    def range_in(self, law: Any) -> tuple[float, float]:
        """The noise levels of the range, the lower one first, in a schedule: that of the model that is sampled, which a
        node behind this one may have changed."""
        if id(law) not in self.ranges:
            self.ranges[id(law)] = (law, *levels_between(law, self.start_percent, self.end_percent))
        return self.ranges[id(law)][1:]

    def reference_as(self, latents: Tensor) -> Tensor:
        """The reference on the device of latents and in their type."""
        key = latents.device, latents.dtype
        if key not in self.placed:
            # It may take part in gradients later, for which tensors of inference mode cannot be used.
            with torch.inference_mode(False), torch.no_grad():
                self.placed[key] = self.reference.to(*key)
        return self.placed[key]

    def before_sampling(self, executor: Callable, noise: Tensor, *arguments: Any, **keywords: Any) -> Any:
        """Around a sampling of core's, so that what does not fit is told before the model is loaded and asked."""
        self.fitting(noise)
        self.forget()
        try:
            return executor(noise, *arguments, **keywords)
        finally:
            self.forget()

    def forget(self) -> None:
        self.placed.clear()
        self.ranges.clear()

    def fitting(self, latents: Tensor) -> Tensor:
        """Latents as pictures (B, C, H, W). Raises ValueError for those of another size than the reference."""
        pictures = as_pictures(latents)
        if pictures.ndim != 4:
            raise ValueError("TypicalityGuidance pushes pictures, but a video, audio or combined latent is sampled: "
                             "connect the model from before that node.")
        if pictures.shape[1:] != self.reference.shape[1:]:
            raise ValueError(f"The average of TypicalityGuidance is a latent of {described(self.reference)}, but "
                             f"latents of {described(pictures)} are sampled: connect one latent_image to "
                             "MentalAverage, or whatever makes the average, and to the sampler.")
        return pictures


def pushed_model(model: Any, push: Push) -> Any:
    """A copy of a MODEL with one more patch after guidance, behind those that it has."""
    model = model.clone()
    model.set_model_sampler_post_cfg_function(push)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, push.before_sampling)
    return model
