"""ChannelMeanInterpolate: mixtures and averages of noise."""
from __future__ import annotations

import math

from comfy_api.latest import io

from ...dma import interpolation
from ..inputs import REPORT, category, checked, growing_latents, joined_noise
from ._weights_text import parse_weights


class ChannelMeanInterpolate(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ChannelMeanInterpolate", display_name="Interpolate Latents (Channel Mean)",
            category=category("interpolation"),
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
    @checked()
    def execute(cls, latents, weights, method, mean_adjustment, low_pass_width=4.0) -> io.NodeOutput:
        samples = joined_noise(latents)
        rows = parse_weights(weights, len(samples))
        width = low_pass_width if mean_adjustment == "low_pass" else math.inf
        way = {"method": method, "mean_adjustment": mean_adjustment, "low_pass_width": width}
        mixture = interpolation.interpolate(samples, rows, **way)
        return io.NodeOutput({"samples": mixture.latents}, interpolation.interpolation_report(samples, mixture, **way))
