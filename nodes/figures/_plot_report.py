"""PlotReport."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma import figures
from ..inputs import REPORT, category, checked


class PlotReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="PlotReport", display_name="Plot Report", category=category("figures"),
            description="Draws what an alignment, an inversion or an interpolation measured.",
            search_aliases=["residual plot", "alignment report"],
            inputs=[
                REPORT.Input("report", tooltip="From any output of this pack called report, or from LoadReport."),
                io.Int.Input("width", default=1024, min=256, max=4096, step=8, tooltip="Width of the plot in pixels."),
            ],
            outputs=[io.Image.Output("image", display_name="image", tooltip="The plot.")],
        )

    @classmethod
    @checked()
    def execute(cls, report, width) -> io.NodeOutput:
        try:
            return io.NodeOutput(figures.plot(report, width=width))
        except ValueError as error:
            raise ValueError(f"{error} Connect the report of a run with at least one step: aligned_steps of "
                             "AlignTrajectories is 1 or more.") from None
