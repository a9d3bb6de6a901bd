"""HSpaceHook: where a model's features are read."""
from __future__ import annotations

from comfy_api.latest import io

from .. import comfyui, inputs
from ..inputs import HSPACE, LAYERS, checked


class HSpaceHook(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="HSpaceHook", display_name="H-Space Hook", category=inputs.category(),
            description="Chooses the layer of a model whose features stand for meaning: its semantic space.",
            search_aliases=["semantic space", "bottleneck", "mid block", "mental average"],
            inputs=[
                io.Model.Input("model",
                               tooltip="A Stable Diffusion 1.x, 2.x, SDXL (also its refiner), 3 or 3.5, Flux, Flux 2, "
                                       "Chroma, PixArt, AuraFlow, HunyuanDiT, Lumina 2, Z-Image or Qwen-Image model, "
                                       "with LoRAs or other patches if you like. It is not changed."),
                io.Combo.Input("layer", options=LAYERS, default=comfyui.AUTO_LAYER,
                               tooltip="Where features are read. auto: a U-Net's middle block, as in the paper; the "
                                       "last block of a transformer. A layer that this model does not have is refused "
                                       "with the list of those it has."),
                inputs.pooling("none: the whole feature map, layout included (the paper). mean: the average over "
                               "space, content without layout. 2x2 to 16x16: averages over so many cells, rough "
                               "layout; a map with fewer pixels than cells a side stays whole."),
            ],
            outputs=[HSPACE.Output("hspace", display_name="hspace",
                                   tooltip="The model with its semantic layer, for AlignTrajectories, "
                                           "AlignMixtureModes, CaptureHSpace and MeanShard.")],
        )

    @classmethod
    @checked(elsewhere=("layer",))  # the model may have layers that are not in the list
    def execute(cls, model, layer, pooling) -> io.NodeOutput:
        comfyui.check_model(model)
        return io.NodeOutput(comfyui.HSpace(model, comfyui.resolve_layer(model, layer), pooling))
