"""BestOfK: the best picture of a batch by a score."""
from __future__ import annotations

import torch
from comfy_api.latest import io

from ...dma import baselines, statistics
from ..inputs import FEATURES, category, check_batch, checked, numbers, on_white

HIGHEST, LOWEST = "highest", "lowest"


class BestOfK(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="BestOfK", display_name="Best of K", category=category("baselines"),
            description="Picks the best picture of a batch by a score of each: what people do by hand, and a rival of "
                        "every average.",
            search_aliases=["best of n", "select best", "rank", "score", "reward", "baseline"],
            inputs=[
                io.Image.Input("images", tooltip="A batch of pictures."),
                io.String.Input("scores", default="", multiline=True,
                                tooltip="A number for each picture, in their order. Empty: how typical each is, the "
                                        "mean similarity of its features to those of all others."),
                io.Combo.Input("best", options=[HIGHEST, LOWEST], default=HIGHEST,
                               tooltip="Whether the highest or the lowest score is the best. The lowest typicality is "
                                       "the most unusual picture."),
                FEATURES.Input("features", optional=True,
                               tooltip="Features of the pictures from CaptureHSpace, in the same order, for their "
                                       "typicality. Without them and without scores pictures are compared pixel by "
                                       "pixel."),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The best picture."),
                io.Int.Output("index", display_name="index", tooltip="Its place in the batch, from 0."),
                io.Float.Output("score", display_name="score", tooltip="Its score."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, images, scores, best, features=None) -> io.NodeOutput:
        check_batch(images, "images")
        if scores.strip() and features is not None:
            raise ValueError("There are scores, and features are connected, but the best picture is that by one of "
                             "them: empty scores or disconnect features.")
        if features is not None and len(features.values) != len(images):
            raise ValueError(f"There are {len(images)} pictures but features of {len(features.values)}: connect "
                             "CaptureHSpace to the latents of the same pictures.")
        if scores.strip():
            found = torch.tensor(numbers(scores, "scores", "0.31, 0.27, 0.4"), dtype=torch.float64)
            if len(found) != len(images):
                raise ValueError(f"There are {len(images)} pictures but {len(found)} scores: give one number for each, "
                                 "or none.")
        else:
            found = statistics.mean_similarity(on_white(images) if features is None else features.values)
        index = baselines.best_of(found, lowest=best == LOWEST)
        return io.NodeOutput(images[index : index + 1], index, found[index].item())
