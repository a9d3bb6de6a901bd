"""MixingWeights: rows of weights for ChannelMeanInterpolate."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma import interpolation
from ..comfyui import image_latents
from ..inputs import category, checked, numbers
from ._weights_text import weights_to_text


class MixingWeights(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="MixingWeights", display_name="Mixing Weights", category=category("interpolation"),
            description="Writes rows of weights for ChannelMeanInterpolate: a morph between inputs, a grid over three "
                        "or four, random mixtures, or the first few of many.",
            search_aliases=["morph", "barycentric", "convex combination", "interpolation weights"],
            inputs=[
                io.Int.Input("inputs", default=4, min=1, max=1000,
                             tooltip="How many latents are mixed: as many as ChannelMeanInterpolate gets, or connect "
                                     "them to batch. 3 or 4 for a grid."),
                io.DynamicCombo.Input("mode",
                                      tooltip="path: from each input to the next. grid: a triangle between three "
                                              "inputs or a square between four. random: mixtures drawn evenly from all "
                                              "there are. first: averages of the first few inputs, of ever more of "
                                              "them.",
                    options=[
                        io.DynamicCombo.Option("path", [
                            io.Int.Input("steps", default=8, min=1, max=1000,
                                         tooltip="Rows from each input to the next; the last input is one more row."),
                            io.Boolean.Input("closed", default=False,
                                             tooltip="Go on from the last input back towards the first, for a loop."),
                        ]),
                        io.DynamicCombo.Option("grid", [
                            io.Int.Input("size", default=5, min=2, max=64,
                                         tooltip="Rows along each edge: size x size for a square, size x (size + 1) / "
                                                 "2 for a triangle."),
                        ]),
                        io.DynamicCombo.Option("random", [
                            io.Int.Input("rows", default=8, min=1, max=1000, tooltip="How many mixtures."),
                            io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF,
                                         tooltip="Seed of the random mixtures."),
                        ]),
                        io.DynamicCombo.Option("first", [
                            io.String.Input("counts", default="2, 8, 32",
                                            tooltip="How many inputs each row averages, counted from the first."),
                        ]),
                    ]),
                io.Latent.Input("batch", optional=True,
                                tooltip="The latents to be mixed: their number takes the place of inputs. Leave it out "
                                        "when ChannelMeanInterpolate joins several batches."),
            ],
            outputs=[io.String.Output("weights", display_name="weights",
                                      tooltip="One row per output, for ChannelMeanInterpolate.")],
        )

    @classmethod
    @checked()
    def execute(cls, inputs, mode, batch=None) -> io.NodeOutput:
        if batch is not None:
            inputs = len(image_latents(batch, "The input batch"))
        if mode["mode"] == "path":
            rows = interpolation.path_weights(inputs, mode["steps"], closed=mode["closed"])
        elif mode["mode"] == "grid":
            rows = interpolation.grid_weights(inputs, mode["size"])
        elif mode["mode"] == "random":
            rows = interpolation.random_weights(inputs, mode["rows"], seed=mode["seed"])
        else:
            rows = interpolation.first_weights(inputs, numbers(mode["counts"], "counts", "2, 8, 32", int))
        return io.NodeOutput(weights_to_text(rows))
