"""PlotReport, LabelledSheet, and reports on disk."""
from __future__ import annotations

from comfy_api.latest import io, ui

from ..dma import figures, reports
from . import files
from .sockets import REPORT


class PlotReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="PlotReport", display_name="Plot Report", category="dma/figures",
            description="Draws what an alignment, an inversion or an interpolation measured.",
            search_aliases=["residual plot", "alignment report"],
            inputs=[
                REPORT.Input("report", tooltip="From any output of this pack called report, or from LoadReport."),
                io.Int.Input("width", default=1024, min=256, max=4096, step=8, tooltip="Width of the plot in pixels."),
            ],
            outputs=[io.Image.Output("image", display_name="image", tooltip="The plot.")],
        )

    @classmethod
    def execute(cls, report, width) -> io.NodeOutput:
        return io.NodeOutput(reports.plot(report, width))


class LabelledSheet(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        rows = io.Autogrow.TemplatePrefix(io.Image.Input("images", tooltip="The pictures of one row."), prefix="images",
                                          min=1, max=20)
        return io.Schema(
            node_id="LabelledSheet", display_name="Labelled Sheet", category="dma/figures",
            description="Lays batches of pictures out in rows with a caption each.",
            search_aliases=["contact sheet", "grid", "caption"],
            inputs=[
                io.Autogrow.Input("rows", template=rows,
                                  tooltip="One batch of pictures per row; a new input appears as you connect."),
                io.String.Input("captions", multiline=True, default="", tooltip="One line per row."),
                io.String.Input("title", default="", tooltip="A line above the sheet; may be empty."),
                io.Int.Input("cell", default=192, min=32, max=1024, step=8,
                             tooltip="Height of a picture on the sheet, in pixels."),
                io.Int.Input("columns", default=8, min=1, max=64,
                             tooltip="Most pictures per row; further ones are left out and counted in the caption."),
            ],
            outputs=[io.Image.Output("image", display_name="image", tooltip="The sheet.")],
        )

    @classmethod
    def execute(cls, rows, captions, title, cell, columns) -> io.NodeOutput:
        batches = [images for images in rows.values() if images is not None]
        if not batches:
            raise ValueError("The sheet has no pictures: connect at least one batch of images.")
        return io.NodeOutput(figures.labelled_sheet(batches, captions.splitlines(), title, cell, columns))


class SaveReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SaveReport", display_name="Save Report", category="dma/figures", is_output_node=True,
            description="Writes a report as JSON into ComfyUI's output folder.",
            inputs=[
                REPORT.Input("report", tooltip="From any output of this pack called report."),
                io.String.Input("filename_prefix", default="mental_average_report",
                                tooltip="File name without number and ending."),
            ],
            outputs=[io.String.Output("path", display_name="path",
                                      tooltip="The file that was written, relative to the output folder.")],
        )

    @classmethod
    def execute(cls, report, filename_prefix) -> io.NodeOutput:
        name = files.write_output_text(filename_prefix, ".json", report.to_json())
        return io.NodeOutput(name, ui=ui.PreviewText(f"Saved {name}"))


class LoadReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LoadReport", display_name="Load Report", category="dma/figures",
            description="Reads a report that Save Report wrote.",
            inputs=[io.String.Input("path", default="", tooltip="A file in ComfyUI's output or input folder.")],
            outputs=[REPORT.Output("report", display_name="report", tooltip="The report, for PlotReport.")],
        )

    @classmethod
    def fingerprint_inputs(cls, path) -> str | float:
        if path is None:
            # ComfyUI does not say what comes over a link: read again each time.
            return float("nan")
        try:
            return files.content_hash(files.readable_path(path))
        except ValueError:
            return ""

    @classmethod
    def execute(cls, path) -> io.NodeOutput:
        return io.NodeOutput(reports.read(files.readable_path(path).read_text(errors="replace")))
