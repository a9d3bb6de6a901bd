"""What a sampling was of and how it was done, in words and hashes, so that two of them can be told apart."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.samplers
from torch import Tensor

from ...dma.diffusion import distinct_levels
from ._noise_law import rounded_level
from ._run_key import conditioning_key, run_key

# What this pack's own loops take, with the name that core has for these steps.
DETERMINISTIC = "euler"


@dataclass(frozen=True)
class SamplingKind:
    """model: a hash of weights, LoRAs and patches. prompts: one of all conditionings. guidance: None where a guider has
    none. start: the first noise level. sampler: its name, with options where it has some."""

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
    return SamplingKind(run_key(model, "recorded sampling", {}, {}), prompts,
                        None if guidance is None else float(guidance), sampler, len(distinct_levels(sigmas)) - 1,
                        rounded_level(float(sigmas[0])))


def name_of(sampler: Any) -> str:
    """What a SAMPLER is called, with its options."""
    if not isinstance(sampler, comfy.samplers.KSAMPLER):
        return type(sampler).__name__
    function = getattr(sampler.sampler_function, "__name__", type(sampler.sampler_function).__name__)
    options = [f"{name} {value}" for name, value in sorted(sampler.extra_options.items())
               if isinstance(value, (bool, int, float, str))]
    name = function.removeprefix("sample_").removesuffix("_function")
    return f"{name} ({', '.join(options)})" if options else name
