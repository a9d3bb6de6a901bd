"""LabelledSheet."""
from __future__ import annotations

import logging

from comfy_api.latest import io

from ...dma import figures
from ..inputs import category, check_batch, checked, lines_of, number_of


class LabelledSheet(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        rows = io.Autogrow.TemplatePrefix(io.Image.Input("images", tooltip="The pictures of one row."), prefix="images",
                                          min=1, max=20)
        return io.Schema(
            node_id="LabelledSheet", display_name="Labelled Sheet", category=category("figures"),
            description="Lays batches of pictures out in rows with a caption each.",
            search_aliases=["contact sheet", "grid", "caption"],
            inputs=[
                io.Autogrow.Input("rows", template=rows,
                                  tooltip="One batch of pictures per row; a new input appears as you connect."),
                io.String.Input("captions", multiline=True, default="",
                                tooltip="One line per input: the first line belongs to images0, the second to images1, "
                                        "also where an input between them is muted or left open."),
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
        say_what_does_not_match(list(connected), captions.splitlines())
        return io.NodeOutput(figures.labelled_sheet(list(connected.values()), lines_of(list(connected), captions),
                                                   title=title, cell=cell, columns=columns))


def say_what_does_not_match(names: list[str], lines: list[str]) -> None:
    """Name lines without an input, and inputs without a line where others have one, in the log."""
    numbers = list(map(number_of, names))
    spare = [line for number, line in enumerate(lines) if line.strip() and number not in numbers]
    bare = [name for name, number in zip(names, numbers) if number >= len(lines)]
    if spare:
        logging.warning("LabelledSheet: no pictures are connected for the captions %s.", ", ".join(map(repr, spare)))
    if lines and bare:
        logging.warning("LabelledSheet: there is no line of captions for %s.", ", ".join(bare))
