"""Sparsity: how many channels of each block are active, and how many are specialised."""
from __future__ import annotations

import time

from comfy_api.latest import io

from ...dma import representation
from ...dma.figures import plot_sparsity
from ...dma.representation import Reading
from .. import comfyui, inputs
from ..inputs import REPORT, checked


class Sparsity(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Sparsity", display_name="Sparsity", category=inputs.category("representation"),
            description="Measures in every block of a model how many channels are active for a picture, and how many "
                        "are special to few pictures.",
            search_aliases=["participation ratio", "specialised channels", "representation", "activations"],
            inputs=[
                io.Model.Input("model", tooltip="Any model that H-Space Hook takes. It is not changed."),
                inputs.reading_prompt(),
                io.Latent.Input("latents", tooltip="Clean latents of different pictures: two or more, from 20 on "
                                                   "specialised channels can be told, from 100 on well."),
                inputs.levels_to_read("0.2, 0.5, 0.8, 1"),
                inputs.draws(4),
                inputs.seed("Seed of the noise. All latents get the same draws."),
                io.String.Input("layers", default="", optional=True, advanced=True,
                                tooltip="Only these layers: names or beginnings of names, such as middle_block, "
                                        "output_blocks or joint_blocks.1*. Empty: all."),
                inputs.batch_size(),
                inputs.resume(),
            ],
            outputs=[
                io.Image.Output("curve", display_name="curve",
                                tooltip="The measures of every block over the depth of the network, a line for each "
                                        "noise level."),
                io.String.Output("table", display_name="table",
                                 tooltip="The same as a Markdown table, for Preview as Text."),
                REPORT.Output("report", display_name="report", tooltip="All numbers, for PlotReport and SaveReport."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, positive, latents, levels, draws, seed, layers="", batch_size=0,
                resume=True) -> io.NodeOutput:
        started = time.monotonic()
        count = len(comfyui.image_latents(latents, "The input latents"))
        if count < representation.FEWEST_PICTURES:
            raise ValueError(f"The input latents holds {count} latent, but what is special to a picture is told by "
                             "comparing: connect two or more, better 100.")
        layers = inputs.chosen_layers(comfyui.layer_names(model), layers)
        found = inputs.represented(model, positive, latents, inputs.noise_levels(model, levels), layers,
                                   Reading(draws, seed), batch_size=batch_size, resume=resume)
        report = representation.sparsity(list(found.values()), {"layers": layers}, time.monotonic() - started)
        return io.NodeOutput(plot_sparsity(report), report.table(), report)
