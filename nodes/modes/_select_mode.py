"""SelectMode: the members of one mode."""
from __future__ import annotations

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..inputs import CLUSTERS, category, checked, count_of, take


class SelectMode(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        batched = io.MatchType.Template("batch", [io.Image, io.Latent, io.Mask])
        return io.Schema(
            node_id="SelectMode", display_name="Select Mode", category=category("modes"),
            description="Picks the members of one mode out of a batch of images, latents or masks.",
            search_aliases=["cluster", "members", "split batch", "filter"],
            inputs=[
                CLUSTERS.Input("clusters", tooltip="From CLIPGMMClusters, AlignMixtureModes or ModeTree."),
                io.MatchType.Input("batch", template=batched,
                                   tooltip="The clustered pictures, or anything with one entry for each in the same "
                                           "order, such as the latents they were decoded from."),
                io.Int.Input("mode", default=0, min=0, max=99, tooltip="Which mode: 0 is the largest."),
            ],
            outputs=[
                io.MatchType.Output(batched, "selected", display_name="selected",
                                    tooltip="The members of the mode, the most typical first."),
                io.MatchType.Output(batched, "rest", display_name="rest",
                                    tooltip="All others in their old order. Nodes behind it do not run if there are "
                                            "none."),
                io.MatchType.Output(batched, "all_modes", display_name="all_modes", is_output_list=True,
                                    tooltip="A list with the members of each mode, the largest first: the nodes behind "
                                            "it run once for each."),
                io.Int.Output("count", display_name="count", tooltip="How many members the mode has."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, clusters, batch, mode) -> io.NodeOutput:
        size, expected = count_of(batch), len(clusters.labels)
        if size != expected:
            raise ValueError(f"The clusters are of {expected} pictures but this batch has {size}: connect the batch "
                             "that was clustered.")
        if mode >= len(clusters.members):
            raise ValueError(f"There is no mode {mode}: these clusters have {len(clusters.members)}, numbered from 0.")
        modes = [take(batch, list(rows)) for rows in clusters.members]
        others = sorted(set(range(expected)) - set(clusters.members[mode]))
        rest = take(batch, others) if others else ExecutionBlocker(None)
        return io.NodeOutput(modes[mode], rest, modes, len(clusters.members[mode]))
