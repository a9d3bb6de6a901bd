"""CONDITIONING: what cannot be used, and copies that autograd can use."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import nodes
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import Tensor

# What would give features that cannot be compared between latents, or that ComfyUI swaps weights for in mid-run.
UNSUPPORTED_CONDITIONING = {"area": "an area", "mask": "a mask", "gligen": "GLIGEN boxes",
                            "hooks": "a scheduled LoRA or another hook", "reference_latents": "a reference picture"}

# What holds the prompt besides the embedding, and ConditioningZeroOut leaves as it is: of HunyuanDiT, HiDream, Anima
# and HunyuanImage, and what a ControlNet reads.
OTHER_TEXT = ("conditioning_mt5xl", "conditioning_llama3", "t5xxl_weights", "conditioning_byt5small",
              "cross_attn_controlnet")
TOKENS = "text_input_ids"  # of HiDream O1, which encodes them itself
PROMPT_PICTURES = "unclip_conditioning"


def check_one_prompt(conditioning: list, name: str) -> None:
    """Raise ValueError if a conditioning is empty or gives every latent of a batch another prompt."""
    if not conditioning:
        raise ValueError(f"The {name} conditioning is empty: connect a CLIP Text Encode node with your prompt.")
    for embedding, _ in conditioning:
        if isinstance(embedding, Tensor) and len(embedding) != 1:
            raise ValueError(f"The {name} conditioning holds {len(embedding)} prompts in one batch, which would be "
                             "dealt out to latents by chance: connect one prompt at a time.")


def without_prompt(model: Any, positive: list) -> list:
    """A conditioning in the place of the empty prompt's, made of a prompt's for want of a text encoder.

    Stable Diffusion 1 and 2 get the vector of the text's start alone, which is the same for every prompt and is what
    they look at where there is none; all others zeros, as ConditioningZeroOut makes them, with which SDXL and SD3 were
    trained. Neither is the empty prompt itself. Pictures that a prompt is joined with (unCLIPConditioning) are left
    out; where it holds, its ControlNets and what is to be inpainted stay.

    Raises ValueError where a model reads the words themselves, of which nothing can be left out.
    """
    network = model.get_model_object("diffusion_model")
    from_start = isinstance(network, UNetModel) and network.num_classes is None
    found = []
    for embedding, options in nodes.ConditioningZeroOut().zero_out(positive)[0]:
        if TOKENS in options:
            raise ValueError("For this model nothing stands for the empty prompt: connect a CLIP Text Encode without "
                             "text to negative.")
        kept = {name: torch.zeros_like(value) if name in OTHER_TEXT and isinstance(value, Tensor) else value
                for name, value in options.items() if name != PROMPT_PICTURES}
        found.append([embedding, kept])
    if from_start:
        for entry, (embedding, _) in zip(found, positive):
            entry[0] = embedding[:, :1].expand_as(embedding).clone()
    return found


def check_conditioning(conditioning: list, name: str) -> None:
    """Raise ValueError if features of this conditioning could not be compared between latents."""
    check_one_prompt(conditioning, name)
    for _, options in conditioning:
        for key, what in UNSUPPORTED_CONDITIONING.items():
            if options.get(key) is not None:
                raise ValueError(f"The {name} conditioning carries {what}, which mental averages cannot use: connect a "
                                 "plain prompt for the whole picture.")


def check_active(model: Any, conditioning: list, name: str, sigmas: Sequence[float]) -> None:
    """Raise ValueError if no part of a conditioning is active at one of some noise levels, where core takes zeros for
    the prediction."""
    level_of = model.get_model_object("model_sampling").percent_to_sigma
    # As in core, an end that an entry does not name is none: a table of levels may go a rounding beyond percent 0.
    ranges = [(float(level_of(options["end_percent"])) if "end_percent" in options else 0.0,
               float(level_of(options["start_percent"])) if "start_percent" in options else math.inf)
              for _, options in conditioning]
    for sigma in sigmas:
        if not any(lowest <= sigma <= highest for lowest, highest in ranges):
            raise ValueError(f"No part of the {name} conditioning is active at noise level {sigma:.3g}, at which "
                             "predictions are asked for: widen the range of Conditioning Set Timestep Range.")


def check_no_hooks(conditioning: list, name: str) -> None:
    """Raise ValueError if a conditioning changes weights on the way down, from where ComfyUI never takes them back."""
    if any(options.get("hooks") is not None for _, options in conditioning):
        raise ValueError(f"The {name} conditioning carries {UNSUPPORTED_CONDITIONING['hooks']}, which cannot be used "
                         "where noise rises again: connect a prompt without it, or load the LoRA with Load LoRA.")


def normal_tensors(value: Any) -> Any:
    """A copy of nested lists, tuples and dicts in which every tensor is cloned, hence no inference tensor."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: normal_tensors(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(normal_tensors(item) for item in value)
    return value
