"""SaveReport and LoadReport: reports on disk."""
from __future__ import annotations

from comfy_api.latest import io, ui

from ...dma import figures
from .. import comfyui
from ..inputs import REPORT, category, checked, from_saved_file, saved_file


class SaveReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SaveReport", display_name="Save Report", category=category("figures"), is_output_node=True,
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
    @checked()
    def execute(cls, report, filename_prefix) -> io.NodeOutput:
        name = comfyui.write_output_text(filename_prefix, ".json", report.to_json())
        return io.NodeOutput(name, ui=ui.PreviewText(f"Saved {name}"))


class LoadReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LoadReport", display_name="Load Report", category=category("figures"),
            description="Reads a report that Save Report wrote.",
            inputs=[saved_file()],
            outputs=[REPORT.Output("report", display_name="report", tooltip="The report, for PlotReport.")],
        )

    @classmethod
    def fingerprint_inputs(cls, path) -> str | float:
        return comfyui.readable_fingerprint(path)

    @classmethod
    @checked()
    def execute(cls, path) -> io.NodeOutput:
        return io.NodeOutput(from_saved_file(path, lambda found: figures.read_report(found.read_text(errors="replace")),
                                             "Save Report of this version of the node pack, or of an earlier one,"))
