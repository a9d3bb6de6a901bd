"""LatentStatistics and LatentOffset: how the noise of inversions differs from white noise, and what such a difference
does."""
from __future__ import annotations

import torch
from comfy_api.latest import io

from ..dma import interpolation_figures, latent_statistics
from ..dma.interpolation_report import measure
from ..dma.number_text import numbers
from .latent_inputs import finite, growing_latents, image_latents, joined_noise
from .sockets import REPORT


class LatentStatistics(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LatentStatistics", display_name="Latent Statistics", category="dma/interpolation",
            description="Measures the bias that inverted latents share, and how it grows when ever more of them are "
                        "averaged.",
            search_aliases=["channel mean", "latent norm", "bias amplification", "degeneracy"],
            inputs=[
                growing_latents(),
                io.Int.Input("subsets", default=16, min=1, max=1000, optional=True, advanced=True,
                             tooltip="Random subsets of the latents whose centroid is taken, for each number of "
                                     "latents."),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, optional=True, advanced=True,
                             tooltip="Seed that draws these subsets."),
            ],
            outputs=[
                io.Image.Output("image", display_name="image",
                                tooltip="Channel means of centroids against their number with the square root law, "
                                        "amplification, channel means and norms."),
                REPORT.Output("report", display_name="report", tooltip="All numbers, for SaveReport."),
                io.String.Output("summary", display_name="summary",
                                 tooltip="The main numbers as text, for Preview as Text."),
            ],
        )

    @classmethod
    def execute(cls, latents, subsets=16, seed=0) -> io.NodeOutput:
        statistics = measure(joined_noise(latents), subsets, seed)
        return io.NodeOutput(interpolation_figures.plot_latent_statistics(statistics), statistics, statistics.summary())


class LatentOffset(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LatentOffset", display_name="Latent Offset", category="dma/interpolation",
            description="Shifts two channels against each other in the top of a latent, to show what a small bias of "
                        "the noise does to the picture.",
            search_aliases=["perturb latent", "latent bias", "channel offset"],
            inputs=[
                io.Latent.Input("latent", tooltip="Noise (of an inversion), or a finished latent for comparison."),
                io.String.Input("offsets", default="0, 0.1, 0.2, 0.4, 0.8",
                                tooltip="Offsets in units of the latent, each giving one output per latent. These are "
                                        "the paper's, for noise."),
                io.Int.Input("lowered_channel", default=0, min=0, max=1023, optional=True, advanced=True,
                             tooltip="The channel that the offset is taken from."),
                io.Int.Input("raised_channel", default=1, min=0, max=1023, optional=True, advanced=True,
                             tooltip="The channel that it is added to."),
                io.Float.Input("share", default=0.25, min=0.0, max=1.0, step=0.01, optional=True, advanced=True,
                               tooltip="How much of the height, from the top, is changed; at least one row. The paper "
                                       "changes a quarter."),
            ],
            outputs=[io.Latent.Output("latent", display_name="latent",
                                      tooltip="Each latent with every offset, in the order of the offsets.")],
        )

    @classmethod
    def execute(cls, latent, offsets, lowered_channel=0, raised_channel=1, share=0.25) -> io.NodeOutput:
        samples = finite(image_latents(latent, "The input latent"), "The input latent")
        values = numbers(offsets, "offsets", "0, 0.1, 0.2")
        moved = torch.stack([latent_statistics.offset_channels(samples, value, lowered_channel, raised_channel, share)
                             for value in values], dim=1)  # (N, offsets, C, H, W)
        kept = {key: value for key, value in latent.items() if key != "batch_index"}
        return io.NodeOutput({**kept, "samples": moved.flatten(0, 1)})
