"""What a sampling was of and how it was done, in words and hashes, so that two of them can be told apart."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import comfy.model_patcher
import comfy.samplers
from torch import Tensor

from ...dma.diffusion import distinct_levels
from ...dma.inversion import WayBack
from ._noise_law import rounded_level
from ._run_key import conditioning_key, run_key

# What this pack's own loops take, with the name that core has for these steps.
DETERMINISTIC = "euler"
# Ways up whose ways back take these steps.
BACK_BY_EULER = ("ddim", "fixed_point")


@dataclass(frozen=True)
class SamplingKind:
    """model: a hash of weights, LoRAs and patches, of all models that a guider has. prompts: one of all conditionings.
    guidance: None where a guider has none. start: the first noise level. sampler: its name, with options where it or
    the guider has some."""

    model: str
    prompts: str
    guidance: float | None
    sampler: str
    steps: int
    start: float


def kind_of(guider: Any, sampler: str, sigmas: Tensor) -> SamplingKind:
    """The kind of a sampling along `sigmas` by one of core's guiders."""
    model, guidance = guider.model_patcher, getattr(guider, "cfg", None)
    prompts = conditioning_key(model, getattr(guider, "original_conds", {}))
    others = {name: run_key(held, "recorded sampling", {}, {}) for name, held in sorted(vars(guider).items())
              if isinstance(held, comfy.model_patcher.ModelPatcher) and held is not model}
    options = {name: held for name, held in vars(guider).items() if name != "cfg"}
    return SamplingKind(run_key(model, "recorded sampling", others, {}), prompts,
                        None if guidance is None else float(guidance), _with_options(sampler, options),
                        len(distinct_levels(sigmas)) - 1, rounded_level(float(sigmas[0])))


def name_of(sampler: Any) -> str:
    """What a SAMPLER is called, with its options."""
    if not isinstance(sampler, comfy.samplers.KSAMPLER):
        return type(sampler).__name__
    function = getattr(sampler.sampler_function, "__name__", type(sampler.sampler_function).__name__)
    return _with_options(function.removeprefix("sample_").removesuffix("_function"), sampler.extra_options)


def name_of_way(way: WayBack) -> str:
    """What the steps of an inversion's way back are called."""
    return DETERMINISTIC if way.name in BACK_BY_EULER else way.name


def _with_options(name: str, options: Mapping[str, Any]) -> str:
    """A name with those of its options that words can say."""
    said = [f"{option} {value}" for option, value in sorted(options.items())
            if isinstance(value, (bool, int, float, str))]
    return f"{name} ({', '.join(said)})" if said else name
