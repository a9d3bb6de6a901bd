"""ChannelMeanInterpolate, and MixingWeights that writes rows of weights for it."""
from __future__ import annotations

import math

from comfy_api.latest import io

from ..dma import interpolation, mixing_weights
from ..dma.interpolation_report import interpolation_report
from ..dma.number_text import numbers
from .latent_inputs import growing_latents, image_latents, joined_noise
from .sockets import REPORT


class ChannelMeanInterpolate(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ChannelMeanInterpolate", display_name="Interpolate Latents (Channel Mean)",
            category="dma/interpolation",
            description="Mixes or averages the noise of inverted pictures without the degeneration that plain "
                        "normalisation brings with many inputs.",
            search_aliases=["slerp", "latent average", "centroid", "morph", "interpolate latents", "mix latents",
                            "fix/chm"],
            inputs=[
                growing_latents(),
                io.String.Input("weights", multiline=True, default="",
                                tooltip="One row of numbers per output, one number per latent, from MixingWeights or "
                                        "by hand. Empty: one output, all latents weighted alike."),
                io.Combo.Input("method", options=list(interpolation.METHODS), default="fix",
                               tooltip="How mixed noise gets its norm back. fix: the norm of fresh noise (the paper). "
                                       "nin: the inputs' mean norm. restored_variance: reproduces inputs and tends to "
                                       "fix. lin: not at all."),
                io.Combo.Input("mean_adjustment", options=list(interpolation.MEAN_ADJUSTMENTS), default="channel",
                               tooltip="What is mixed linearly, so that a common bias is not amplified. channel: the "
                                       "mean of each channel (the paper). low_pass: all coarse structure."),
                io.Float.Input("low_pass_width", default=4.0, min=0.05, max=1024.0, step=0.05, optional=True,
                               advanced=True,
                               tooltip="Standard deviation of the low pass in latent pixels; only for low_pass. The "
                                       "wider, the closer to channel."),
            ],
            outputs=[
                io.Latent.Output("latent", display_name="latent",
                                 tooltip="One latent per row of weights, noise for DDIMSample."),
                REPORT.Output("report", display_name="report",
                              tooltip="Weights, norms, amplification and channel means, for PlotReport."),
            ],
        )

    @classmethod
    def execute(cls, latents, weights, method, mean_adjustment, low_pass_width=4.0) -> io.NodeOutput:
        samples = joined_noise(latents)
        rows = mixing_weights.parse(weights, len(samples))
        width = low_pass_width if mean_adjustment == "low_pass" else math.inf
        mixture = interpolation.interpolate(samples, rows, method, mean_adjustment, width)
        return io.NodeOutput({"samples": mixture.latents},
                             interpolation_report(samples, mixture, method, mean_adjustment, width))


class MixingWeights(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="MixingWeights", display_name="Mixing Weights", category="dma/interpolation",
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
    def execute(cls, inputs, mode, batch=None) -> io.NodeOutput:
        if batch is not None:
            inputs = len(image_latents(batch, "The input batch"))
        if mode["mode"] == "path":
            rows = mixing_weights.path(inputs, mode["steps"], mode["closed"])
        elif mode["mode"] == "grid":
            rows = mixing_weights.grid(inputs, mode["size"])
        elif mode["mode"] == "random":
            rows = mixing_weights.random(inputs, mode["rows"], mode["seed"])
        else:
            rows = mixing_weights.first(inputs, numbers(mode["counts"], "counts", "2, 8, 32", int))
        return io.NodeOutput(mixing_weights.to_text(rows))
