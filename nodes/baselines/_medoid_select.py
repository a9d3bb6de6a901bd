"""MedoidSelect: the most central picture."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma import baselines
from ..inputs import FEATURES, category, check_batch, checked, on_white


class MedoidSelect(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="MedoidSelect", display_name="Medoid Select", category=category("baselines"),
            description="Picks the most central picture of a batch: the one nearest to all others by its features.",
            search_aliases=["medoid", "most typical image", "central"],
            inputs=[
                io.Image.Input("images", tooltip="A batch of pictures."),
                FEATURES.Input("features", optional=True,
                               tooltip="Their features from CaptureHSpace, in the same order. Without them pictures "
                                       "are compared pixel by pixel."),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The most central picture."),
                io.Int.Output("index", display_name="index", tooltip="Its place in the batch, from 0."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, images, features=None) -> io.NodeOutput:
        check_batch(images, "images")
        if features is not None and len(features.values) != len(images):
            raise ValueError(f"There are {len(images)} pictures but features of {len(features.values)}: connect "
                             "CaptureHSpace to the latents of the same pictures.")
        index = baselines.medoid(on_white(images) if features is None else features.values)
        return io.NodeOutput(images[index : index + 1], index)
