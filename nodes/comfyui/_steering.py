"""A patch of a MODEL that adds a direction to the features of layers, in whatever runs its network."""
from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY
from torch import Tensor

from ...dma.steering import Direction
from ._architectures import Place, Rows, places
from ._model import network_of
from ._noise_law import levels_between

KEY = "mental_averages_steering"
CONDITIONAL = 0  # core's number of the side of guidance that the positive prompt is on


@dataclass(frozen=True, eq=False)
class Steering:
    """What is wrapped around every forward pass of a model: strength times a vector (C,) is added to the features of
    each layer, at every place of the image.

    vectors: by layer. Percents are those of ConditioningSetTimestepRange, both ends included. conditional: whether the
    positive prompt's side of guidance alone is steered.

    Made of numbers and tensors alone, so that the key of a run reads all of it.
    """

    vectors: Mapping[str, Tensor]
    strength: float
    start_percent: float
    end_percent: float
    conditional: bool

    def around_model(self, executor: Callable, x: Tensor, t: Tensor, c_concat: Any = None, c_crossattn: Any = None,
                     control: Any = None, transformer_options: Mapping[str, Any] = {}, **conditions: Any) -> Any:
        """Around BaseModel.apply_model, whose x (B, C, ...) holds the latents of all sides that are evaluated together
        at noise levels t (B,)."""
        model, arguments = executor.class_obj, (x, t, c_concat, c_crossattn, control, transformer_options)
        rows = self.steered_rows(model.model_sampling, t, transformer_options, len(x))
        if not rows.any():
            return executor(*arguments, **conditions)
        if COMPILE_KEY in transformer_options.get("wrappers", {}).get(WrappersMP.APPLY_MODEL, {}):
            raise ValueError("SteerRepresentation changes features inside the network, which a compiled network does "
                             "not let it: connect the model without TorchCompileModel.")
        places_of = places(model.diffusion_model)
        if conditions.get("ref_latents") and any(
                place.blocks.element is None and place.blocks.rows is not Rows.MAP
                for layer, place in places_of.items() if layer in self.vectors):
            # Where text and image are apart the picture comes first; elsewhere before or behind, by the network.
            raise ValueError("At a layer of SteerRepresentation where text and image are together, the picture that is "
                             "sampled cannot be told from a reference picture in the conditioning: sample without one, "
                             "or steer layers such as double_blocks or transformer_blocks.")
        hooks = []
        try:
            for layer, vector in self.vectors.items():
                place = places_of.get(layer)
                if place is None:
                    raise ValueError(f"The layer {layer} of SteerRepresentation is not in this network any more: "
                                     "another node has changed the network.")
                # Before other hooks, so that what is read at this layer is what the network goes on with.
                hooks.append(place.module.register_forward_hook(functools.partial(
                    self.steer, place=place, size=tuple(x.shape[-2:]), vector=vector, rows=rows), prepend=True))
            return executor(*arguments, **conditions)
        finally:
            for hook in hooks:
                hook.remove()

    def before_sampling(self, executor: Callable, *arguments: Any, **keywords: Any) -> Any:
        """Around a sampling of core's, whose guider says in which order it asks for its prompts."""
        if self.conditional and "middle" in executor.class_obj.conds:
            raise ValueError("A Dual CFG Guider asks for its negative prompt first, so that SteerRepresentation would "
                             "take it for the positive one: choose the branch both, or another guider.")
        # Gone after the sampling, for which core makes a copy of its guider's options.
        executor.class_obj.model_options["transformer_options"][KEY] = functools.partial(_positive, executor.class_obj)
        return executor(*arguments, **keywords)

    def steered_rows(self, law: Any, t: Tensor, options: Mapping[str, Any], count: int) -> Tensor:
        """Which rows (B,) of a batch are steered."""
        lowest, highest = levels_between(law, self.start_percent, self.end_percent)
        rows = ((t >= lowest) & (t <= highest)).expand(count)
        if self.conditional:
            # Sides are in chunks of the same size, one after the other.
            sides = options.get("cond_or_uncond", [CONDITIONAL])
            # Other nodes ask for a prompt of their own, or the negative one, alone, which then is on that side, too.
            positive, asked = options.get(KEY, lambda: None)(), options.get("uuids", [None] * len(sides))
            side = torch.tensor([each == CONDITIONAL and (positive is None or entry in positive)
                                 for each, entry in zip(sides, asked)], device=rows.device)
            rows = rows & side.repeat_interleave(count // len(sides))
        return rows

    def steer(self, module: Any, inputs: Any, output: Any, *, place: Place, size: tuple[int, int], vector: Tensor,
              rows: Tensor) -> Any:
        tokens = output if place.blocks.element is None else output[place.blocks.element]
        change = self.strength * vector  # (C,)
        # Half precision would make infinity of it, and a sample of NaN.
        if change.abs().max() > torch.finfo(tokens.dtype).max:
            raise ValueError(f"SteerRepresentation adds up to {change.abs().max():.3g} to the features, which this "
                             "model holds in half precision: lower its strength.")
        change = change.to(tokens.device, tokens.dtype)
        return place.shifted(output, size, rows.to(change)[:, None] * change)


def _positive(guider: Any) -> set | None:
    """By which core knows the entries of a guider's positive prompt, as they are now; None where they have nothing."""
    return {entry.get("uuid") for entry in guider.conds.get("positive", [])} or None


def steered_model(model: Any, direction: Direction, layers: list[str], strength: float, start_percent: float,
                  end_percent: float, conditional: bool) -> Any:
    """A copy of a MODEL with one more direction added to its features, at these layers of the direction.

    Raises ValueError, in terms of the page, for layers that the model has not, or of another width.
    """
    found, vectors = places(network_of(model)), {}
    for layer in layers:
        vector = direction.layers[layer].vector
        if layer not in found:
            raise ValueError(f"The direction is one of the layer {layer}, which this model has not: make it with "
                             f"DirectionFromPictures on this kind of model. Its layers are: {', '.join(found)}.")
        if len(vector) != found[layer].width:
            raise ValueError(f"The direction has {len(vector)} channels at the layer {layer}, which has "
                             f"{found[layer].width} in this model: make it with DirectionFromPictures on this kind of "
                             "model.")
        if not vector.isfinite().all():
            raise ValueError(f"The direction contains NaN or infinity at the layer {layer}: make it again.")
        vectors[layer] = vector
    model = model.clone()
    if strength != 0:
        steering = Steering(vectors, strength, start_percent, end_percent, conditional)
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, steering.around_model)
        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, steering.before_sampling)
    return model
