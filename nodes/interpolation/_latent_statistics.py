"""LatentStatistics: how the noise of inversions differs from white noise."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma import figures, interpolation
from ..inputs import REPORT, category, checked, growing_latents, joined_noise


class LatentStatistics(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LatentStatistics", display_name="Latent Statistics", category=category("interpolation"),
            description="Measures the bias that inverted latents share, and how it grows when ever more of them are "
                        "averaged.",
            search_aliases=["channel mean", "latent norm", "bias amplification", "degeneracy"],
            inputs=[
                growing_latents(),
                io.Int.Input("subsets", default=16, min=1, max=1000, optional=True, advanced=True,
                             tooltip="Random subsets of the latents whose centroid is taken, for each number of "
                                     "latents."),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, optional=True, advanced=True,
                             tooltip="Seed that draws these subsets.",
                             control_after_generate=io.ControlAfterGenerate.fixed),
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
    @checked()
    def execute(cls, latents, subsets=16, seed=0) -> io.NodeOutput:
        statistics = interpolation.latent_statistics(joined_noise(latents), subsets=subsets, seed=seed)
        return io.NodeOutput(figures.plot_latent_statistics(statistics), statistics, statistics.summary())
