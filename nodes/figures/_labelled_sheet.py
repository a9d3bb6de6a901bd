"""LabelledSheet."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma import figures
from ..inputs import check_batch, checked


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
    @checked()
    def execute(cls, rows, captions, title, cell, columns) -> io.NodeOutput:
        connected = {name: images for name, images in rows.items() if images is not None}
        if not connected:
            raise ValueError("The sheet has no pictures: connect at least one batch of images.")
        for name, images in connected.items():
            check_batch(images, name)
        return io.NodeOutput(figures.labelled_sheet(list(connected.values()), captions.splitlines(), title=title,
                                                   cell=cell, columns=columns))
