"""LatentOffset: what a small bias of the noise does to the picture."""
from __future__ import annotations

import torch
from comfy_api.latest import io

from ...dma import interpolation
from ..comfyui import finite, image_latents
from ..inputs import category, checked, numbers


class LatentOffset(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LatentOffset", display_name="Latent Offset", category=category("interpolation"),
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
    @checked()
    def execute(cls, latent, offsets, lowered_channel=0, raised_channel=1, share=0.25) -> io.NodeOutput:
        samples = finite(image_latents(latent, "The input latent"), "The input latent")
        values = numbers(offsets, "offsets", "0, 0.1, 0.2")
        moved = torch.stack([interpolation.offset_channels(samples, value, lowered=lowered_channel,
                                                           raised=raised_channel, share=share)
                             for value in values], dim=1)  # (N, offsets, C, H, W)
        kept = {key: value for key, value in latent.items() if key != "batch_index"}
        return io.NodeOutput({**kept, "samples": moved.reshape(-1, *latent["samples"].shape[1:])})
