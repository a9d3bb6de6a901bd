"""SaveRepresentation and LoadRepresentation: representations on disk."""
from __future__ import annotations

from comfy_api.latest import io, ui

from ...dma.representation import load_representation, save_representation
from .. import comfyui
from ..inputs import REPRESENTATION, category, checked, from_saved_file, saved_file

ENDING = ".safetensors"


class SaveRepresentation(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SaveRepresentation", display_name="Save Representation", category=category("representation"),
            is_output_node=True,
            description="Writes a representation as safetensors into ComfyUI's output folder, with where it was read "
                        "in the header.",
            inputs=[
                REPRESENTATION.Input("representation", tooltip="From ChannelMeans."),
                io.String.Input("filename_prefix", default="representation",
                                tooltip="File name without number and ending."),
            ],
            outputs=[io.String.Output("path", display_name="path",
                                      tooltip="The file that was written, relative to the output folder.")],
        )

    @classmethod
    @checked()
    def execute(cls, representation, filename_prefix) -> io.NodeOutput:
        with comfyui.explaining_what_cannot_be_written(filename_prefix):
            path = comfyui.output_path(filename_prefix, ENDING)
            save_representation(representation, path)
        name = comfyui.output_name(path)
        return io.NodeOutput(name, ui=ui.PreviewText(f"Saved {name}"))


class LoadRepresentation(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LoadRepresentation", display_name="Load Representation", category=category("representation"),
            description="Reads a representation that Save Representation wrote.",
            inputs=[saved_file()],
            outputs=[REPRESENTATION.Output("representation", display_name="representation",
                                           tooltip="The representation, as ChannelMeans made it.")],
        )

    @classmethod
    def fingerprint_inputs(cls, path) -> str | float:
        return comfyui.readable_fingerprint(path)

    @classmethod
    @checked()
    def execute(cls, path) -> io.NodeOutput:
        return io.NodeOutput(from_saved_file(path, load_representation, "Save Representation"))
