"""TypicalityGuidance: samples pushed away from the typical, towards it, or from one average to another."""
from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ...dma import steering
from .. import comfyui
from ..inputs import category, checked


class TypicalityGuidance(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TypicalityGuidance", display_name="Typicality Guidance", category=category(),
            description="Pushes the samples of a model away from an average, so that they differ more, or towards it; "
                        "with a second average from the one to the other.",
            search_aliases=["typical", "unusual", "diversity", "variety", "same face", "seed variation", "slider",
                            "mental average"],
            inputs=[
                io.Model.Input("model", tooltip="Any model that a KSampler takes. It is not changed: the output is a "
                                                "patched copy."),
                io.Latent.Input("average",
                                tooltip="The typical picture of the prompt: one latent of this model at the size that "
                                        "is sampled, such as that of MentalAverage."),
                io.Float.Input("strength", default=0.3, min=-10.0, max=10.0, step=0.05, round=False,
                               tooltip="Above 0 away from the typical, below 0 towards it. 0.3 to 0.6 is seen well; "
                                       "from 1 on colours saturate. -0.5 is clearly more typical, -1 gives the "
                                       "average. 0 changes nothing. With second begin with 1 as well: how far it leads "
                                       "depends on the two, and below 0 it is the other way."),
                io.Float.Input("start_percent", default=0.0, min=0.0, max=1.0, step=0.01, round=False,
                               tooltip="Where in sampling pushing begins, as in ConditioningSetTimestepRange."),
                io.Float.Input("end_percent", default=0.4, min=0.0, max=1.0, step=0.01, round=False,
                               tooltip="Where it ends. 0.4 pushes layout and kind, the first 8 of 20 steps, and leaves "
                                       "detail to the model. Later also changes colours and texture, and saturates "
                                       "sooner."),
                io.Latent.Input("second", optional=True,
                                tooltip="Another average of the same size, of another prompt or mode: samples are "
                                        "then pushed along the way from average to it, whatever they are."),
            ],
            outputs=[io.Model.Output("model", display_name="model",
                                     tooltip="The patched model, for a KSampler or any other node that samples. The "
                                             "push acts on samples alone: trainings, and features that a node reads of "
                                             "a model, are those without it.")],
        )

    @classmethod
    @checked()
    def execute(cls, model, average, strength, start_percent, end_percent, second=None) -> io.NodeOutput:
        if start_percent >= end_percent:
            raise ValueError(f"start_percent is {start_percent:g} and end_percent {end_percent:g}, so that nothing "
                             "would be pushed: choose an end_percent above start_percent.")
        # A patch may take part in gradients, for which tensors of inference mode cannot be used.
        with torch.inference_mode(False):
            reference = in_model(model, average, "average")
            if second is not None:
                reference = between(reference, in_model(model, second, "second"))
        if strength == 0:
            return io.NodeOutput(model.clone())
        return io.NodeOutput(comfyui.pushed_model(model, comfyui.Push(
            reference, second is not None, float(strength), float(start_percent), float(end_percent))))


def in_model(model: Any, latent: dict, name: str) -> torch.Tensor:
    """The one latent (1, C, H, W) of an input, in the units that the model works in. Raises ValueError, calling it
    `name`, for anything else."""
    samples = comfyui.finite(comfyui.image_latents(latent, f"The input {name}"), f"The input {name}")
    channels = model.model.latent_format.latent_channels
    if samples.shape[1] != channels:
        raise ValueError(f"{name} has {samples.shape[1]} channels, but the latents of this model have {channels}: "
                         "connect an average that this model has made.")
    if len(samples) != 1:
        raise ValueError(f"{name} holds {len(samples)} latents, but what is typical is one: connect one of them "
                         "(LatentFromBatch), or their average by MentalAverage.")
    if not samples.any():
        raise ValueError(f"{name} is an empty latent: connect a finished one, such as that of MentalAverage.")
    return comfyui.latents_into_model(model, samples.clone())


def between(average: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The way (1, C, H, W) from the one average to the other. Raises ValueError, in terms of the inputs, if there is
    none."""
    if second.shape != average.shape:
        raise ValueError(f"average holds a latent of {comfyui.described(average)}, but second one of "
                         f"{comfyui.described(second)}: connect averages of one size.")
    direction = steering.direction_between(average, second)
    if not direction.any():
        raise ValueError("average and second are the same latent, and there is no way between them: connect the "
                         "averages of two prompts or modes.")
    return direction
