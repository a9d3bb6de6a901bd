"""SteerRepresentation: a direction added to the features of a model while it samples."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma.steering import Direction
from .. import comfyui, inputs
from ..inputs import DIRECTION, checked

BOTH, CONDITIONAL = "both", "conditional"


class SteerRepresentation(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SteerRepresentation", display_name="Steer Representation", category=inputs.category(),
            description="Adds a direction to the features of a model while it samples, so that samples have more of "
                        "something, or less.",
            search_aliases=["steering vector", "activation steering", "concept slider", "attribute", "h-space",
                            "edit"],
            inputs=[
                io.Model.Input("model", tooltip="The kind of model that the direction was made with. It is not "
                                                "changed: the output is a patched copy."),
                DIRECTION.Input("direction", tooltip="From DirectionFromPictures."),
                io.Float.Input("strength", default=1.0, min=-1000.0, max=1000.0, step=0.1, round=False,
                               tooltip="How much of the direction is added at every place. What 1 is the direction "
                                       "says (its scale); below 0 leads the other way. 0 changes nothing."),
                io.String.Input("layers", default="",
                                tooltip="Layers of the direction that are steered: names or beginnings of names. "
                                        "Empty: all that it has."),
                io.Float.Input("start_percent", default=0.0, min=0.0, max=1.0, step=0.01, round=False,
                               tooltip="Where in sampling steering begins, as in ConditioningSetTimestepRange."),
                io.Float.Input("end_percent", default=1.0, min=0.0, max=1.0, step=0.01, round=False,
                               tooltip="Where it ends."),
                io.Combo.Input("branch", options=[BOTH, CONDITIONAL], default=BOTH,
                               tooltip="both: both sides of guidance, which then differ as before. conditional: the "
                                       "positive prompt alone, and guidance takes the change times cfg."),
            ],
            outputs=[io.Model.Output("model", display_name="model",
                                     tooltip="The patched model, for a KSampler or any other node that samples, reads "
                                             "features or trains.")],
        )

    @classmethod
    @checked()
    def execute(cls, model, direction, strength, layers, start_percent, end_percent, branch) -> io.NodeOutput:
        if not isinstance(direction, Direction):
            raise ValueError("direction is none: connect that of DirectionFromPictures.")
        if start_percent >= end_percent:
            raise ValueError(f"start_percent is {start_percent:g} and end_percent {end_percent:g}, so that nothing "
                             "would be steered: choose an end_percent above start_percent.")
        chosen = inputs.chosen_layers(list(direction.layers), layers)
        return io.NodeOutput(comfyui.steered_model(model, direction, chosen, float(strength), float(start_percent),
                                                   float(end_percent), branch == CONDITIONAL))
