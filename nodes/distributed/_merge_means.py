"""MergeMeans: shards of a first mean, put together."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma.statistics import load_shard, merge_shards
from .. import comfyui, inputs
from ..inputs import FIRST_MEAN, checked
from ._mean_shard import ENDING


class MergeMeans(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="MergeMeans", display_name="Merge Means", category=inputs.category("distributed"),
            description="Puts the files of MeanShard together, the same result however many there are, for "
                        "AlignTrajectories or MentalAverage to go on from.",
            search_aliases=["distributed", "cluster", "several GPUs", "multi gpu", "shard", "merge"],
            inputs=[io.String.Input("paths", default="", multiline=True,
                                    tooltip="Files of MeanShard in ComfyUI's output or input folder, one a line, in "
                                            "any order. A * stands for any part of a file's name: means/mean_*.")],
            outputs=[
                FIRST_MEAN.Output("first_mean", display_name="first_mean",
                                  tooltip="For AlignTrajectories or MentalAverage, as first_mean."),
                io.Int.Output("rows", display_name="rows", tooltip="How many rows the mean is taken over."),
                io.Float.Output("error", display_name="error",
                                tooltip="The standard error of the mean, relative to its norm; 0 where it cannot be "
                                        "said."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, paths) -> str | float:
        return (comfyui.readable_fingerprints(inputs.filled_lines(paths), ENDING) if paths is not None
                else float("nan"))

    @classmethod
    @checked()
    def execute(cls, paths) -> io.NodeOutput:
        files = comfyui.readable_paths(inputs.filled_lines(paths), ENDING)
        if not files:
            raise ValueError("paths is empty: name the files that MeanShard has written, one a line.")
        try:
            shards, names = [load_shard(file) for file in files], [file.name for file in files]
            merged = merge_shards(shards, names, words=inputs.INPUTS_OF_MEAN)
        except ValueError as error:
            raise ValueError(f"{error} Name every shard of one mean, once.") from None
        inputs.check_one_model(shards, names)
        moments = next(iter(merged.trees.values())).moments()
        error = moments.standard_error
        return io.NodeOutput(merged, merged.total, error if error == error and error is not None else 0.0)
