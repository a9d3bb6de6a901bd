"""SaveTable: tables of measures on disk."""
from __future__ import annotations

from comfy_api.latest import io, ui

from ...dma import figures, metrics
from .. import comfyui
from ..inputs import TABLE, category, checked, lines_of, number_of

MOST_TABLES = 50
MARK = "\ufeff"  # tells spreadsheets that a file is UTF-8


class SaveTable(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        tables = io.Autogrow.TemplatePrefix(TABLE.Input("tables", tooltip="A table of measures."), prefix="tables",
                                            min=1, max=MOST_TABLES)
        return io.Schema(
            node_id="SaveTable", display_name="Save Table", category=category("figures"), is_output_node=True,
            description="Joins tables of measures into one and writes it as JSON and CSV into ComfyUI's output folder. "
                        "Says what they were not measured alike by.",
            search_aliases=["csv", "export", "spreadsheet", "metrics"],
            inputs=[
                io.Autogrow.Input("tables", template=tables,
                                  tooltip="Tables from CompareSets and ScorePictures; a new input appears as you "
                                          "connect."),
                io.String.Input("names", multiline=True, default="",
                                tooltip="One line a table, by the number of its input: what its pictures are called in "
                                        "the joined table; single pictures keep their own name after it. Where a line "
                                        "is empty they keep their names."),
                io.String.Input("filename_prefix", default="measures",
                                tooltip="File name without number and ending."),
            ],
            outputs=[
                io.Image.Output("picture", display_name="picture", tooltip="The joined table as a picture."),
                TABLE.Output("table", display_name="table", tooltip="The joined table."),
                io.String.Output("path", display_name="path",
                                 tooltip="The JSON file, relative to the output folder, for LoadReport. The CSV file "
                                         "lies beside it."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, tables, names, filename_prefix) -> io.NodeOutput:
        connected = {name: table for name, table in tables.items() if table is not None}
        if not connected:
            raise ValueError("There are no tables: connect at least one.")
        found = list(connected.values())
        try:
            joined = metrics.joined(found, names_of(list(connected), names))
        except ValueError as error:
            raise ValueError(f"{error} Write one line a table into names.") from None
        picture = figures.plot_measures(joined)
        path, beside = comfyui.write_output_texts(
            filename_prefix, {".json": joined.to_json(), ".csv": MARK + joined.to_csv()})
        said = "\n".join([f"Saved {path} and {beside}", *metrics.differences(found)])
        return io.NodeOutput(picture, joined, path, ui=ui.PreviewText(said))


def names_of(connected: list[str], names: str) -> list[str]:
    """The name of each input of `connected`. Raises ValueError for lines after that of the last table."""
    lines, last = names.splitlines(), max(map(number_of, connected)) + 1
    if any(line.strip() for line in lines[last:]):
        raise ValueError(f"names has {len(lines)} lines, but the last table is number {last}.")
    return [line.strip() for line in lines_of(connected, names)]
