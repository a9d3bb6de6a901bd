"""HSpaceHook: where a model's features are read."""
from __future__ import annotations

from comfy_api.latest import io

from .. import comfyui
from ..inputs import HSPACE, checked

# New names go to the end: saved graphs name a layer, and only the list's beginning is read at a glance.
LAYERS = [comfyui.AUTO_LAYER, "middle_block",
          *(f"{path}.{index}" for path, count in [
              ("input_blocks", 12), ("output_blocks", 12),  # U-Nets
              ("joint_blocks", 38),  # Stable Diffusion 3.5 large
              ("double_blocks", 19), ("single_blocks", 48),  # Flux and Chroma; Flux 2
              ("blocks", 40),  # PixArt, HunyuanDiT
              ("double_layers", 4), ("single_layers", 32),  # AuraFlow
              ("noise_refiner", 2), ("layers", 30),  # Lumina 2, Z-Image
              ("transformer_blocks", 60),  # Qwen-Image
          ] for index in range(count))]


class HSpaceHook(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="HSpaceHook", display_name="H-Space Hook", category="dma",
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
                io.Combo.Input("pooling", options=["none", "mean"], default="none",
                               tooltip="none: the whole feature map, layout included (the paper). mean: the average "
                                       "over space, content without layout."),
            ],
            outputs=[HSPACE.Output("hspace", display_name="hspace",
                                   tooltip="The model with its semantic layer, for AlignTrajectories and "
                                           "CaptureHSpace.")],
        )

    @classmethod
    @checked(elsewhere=("layer",))  # the model may have layers that are not in the list
    def execute(cls, model, layer, pooling) -> io.NodeOutput:
        comfyui.check_model(model)
        return io.NodeOutput(comfyui.HSpace(model, comfyui.resolve_layer(model, layer), pooling))
