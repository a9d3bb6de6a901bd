"""Whether prompts, ControlNets and patches fit a MODEL, asked by plain forward passes where something has failed.

What does not fit fails in the first forward pass, whatever a node does with the model, and mostly in words such as
"mat1 and mat2 shapes cannot be multiplied". A self-test of gradients would take it for a model that cannot be
differentiated.
"""
from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterable, Iterator

import comfy.model_patcher
import comfy.samplers
import torch
from torch import Tensor

from ...dma.execution import is_out_of_memory
from ...dma.models import UnusableGradient
from ._denoiser import ComfyDenoiser
from ._dynamic_vram import asking

# What torch and core raise where sizes, names or types do not fit.
FAILURES = (RuntimeError, KeyError, IndexError, TypeError, AttributeError, AssertionError, ValueError)
PREPARING = comfy.samplers.encode_model_conds.__name__
OWN_CLIP = "connect CLIP Text Encode with the CLIP of the model's own checkpoint"


def missing_part(error: KeyError, conditionings: Iterable[list]) -> ValueError | None:
    """What a KeyError says that core raises while it makes of prompts what the model reads; None for one that does not
    come from there, or is of something else than what a prompt lacks."""
    name = error.args[0] if error.args else None
    asked = any(frame.f_code.co_name == PREPARING for frame, _ in traceback.walk_tb(error.__traceback__))
    options = [options for conditioning in conditionings for _, options in conditioning]
    if not asked or not isinstance(name, str) or all(name in option for option in options):
        return None
    return ValueError(f"A prompt has no {name}, which this model reads besides the text, so it was made with "
                      f"the CLIP of another kind of model: {OWN_CLIP}.")


@contextlib.contextmanager
def explaining_misfits(denoiser: ComfyDenoiser, x: Tensor, sigmas: Tensor) -> Iterator[None]:
    """Where what is done inside fails, ask by plain forward passes whether something does not fit, and say so.

    x: a latent (1, C, H, W) as the model takes it, of any content. Passes are only taken after a failure, and none for
    sentences that say what is wrong already.
    """
    try:
        yield
    except FAILURES as failure:
        told = isinstance(failure, ValueError) and not isinstance(failure.__cause__, UnusableGradient)
        if told or is_out_of_memory(failure):
            raise
        found = _misfit(denoiser, x, sigmas)
        if found is None:
            raise
        raise found[0] from found[1]


def _misfit(denoiser: ComfyDenoiser, x: Tensor, sigmas: Tensor) -> tuple[ValueError, BaseException] | None:
    """What does not fit, and how it failed: the prompt by itself, with its ControlNet, or with other nodes' patches."""
    # Of one latent: core shortens the hints of ControlNets, which the next node finds so, to the latents it is given.
    guider, options = denoiser.of([0]).guider, denoiser.options["model_options"]
    bare = {"transformer_options": {"sample_sigmas": options.get("transformer_options", {}).get("sample_sigmas")}}
    level = sigmas.max().to(x.device, torch.float32).expand(1)
    entries = [(name, entry) for name, side in guider.conds.items() for entry in side]
    for name, entry in entries:
        alone = {key: value for key, value in entry.items() if key != "control"}
        if error := _failure(denoiser, alone, x, level, bare):
            return ValueError(f"The {name} prompt does not fit this model ({error}): {OWN_CLIP}."), error
        if "control" in entry and (error := _failure(denoiser, entry, x, level, bare)):
            return ValueError(f"A ControlNet on the {name} prompt does not fit this model or size ({error}): connect "
                              "one that is made for this kind of model."), error
    for _, entry in entries:
        if error := _failure(denoiser, entry, x, level, options):
            return ValueError(f"What another node has added to this model fails in a plain forward pass ({error}): "
                              "connect the model from before that node."), error
    return None


def _failure(denoiser: ComfyDenoiser, entry: dict, x: Tensor, level: Tensor, options: dict) -> BaseException | None:
    options = comfy.model_patcher.create_model_options_clone(options)
    try:
        with torch.no_grad(), asking(denoiser.guider):
            comfy.samplers.calc_cond_batch(denoiser.guider.inner_model, [[entry]], x, level, options)
    except FAILURES as error:
        return None if is_out_of_memory(error) else error
    return None
