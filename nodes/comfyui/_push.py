"""A patch of a MODEL that pushes what it predicts away from an average, towards it, or along a direction."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...dma import steering
from ._latents import as_pictures, described

KEY = "mental_averages_push"


@dataclass(frozen=True, eq=False)
class Push:
    """What core's samplers call after guidance, in the part of a sampling from start_percent to end_percent.

    reference: an average (1, C, H, W) in the units that the model works in, from which predictions are pushed, or with
    `along` a direction along which they are. Percents are those of ConditioningSetTimestepRange, both ends included.

    Made of numbers and a tensor alone, so that the key of a run reads all of it.
    """

    reference: Tensor
    along: bool
    strength: float
    start_percent: float
    end_percent: float

    def __call__(self, arguments: dict[str, Any]) -> Tensor:
        """The prediction (B, C, H, W), or (B, C, 1, H, W) in the form of a video, pushed where the sampling is in the
        range; elsewhere the very tensor that came."""
        denoised, sigma = arguments["denoised"], arguments["sigma"][0].item()
        # Asked here, because a node behind this one may have changed the schedule of the model.
        law = arguments["model"].model_sampling
        if not float(law.percent_to_sigma(self.end_percent)) <= sigma <= float(
                law.percent_to_sigma(self.start_percent)):
            return denoised
        clean = self.fitting(denoised)
        push = steering.pushed_along if self.along else steering.pushed_from
        return push(clean, self.reference, strength=self.strength).view(denoised.shape)

    def before_sampling(self, executor: Callable, noise: Tensor, *arguments: Any, **keywords: Any) -> Any:
        """Around a sampling of core's, so that what does not fit is told before the model is loaded and asked."""
        self.fitting(noise)
        return executor(noise, *arguments, **keywords)

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
