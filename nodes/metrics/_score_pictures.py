"""ScorePictures: the best of a batch of pictures."""
from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...dma import encoders, figures, metrics
from .. import comfyui, inputs
from ..inputs import IMAGE_ENCODER, TABLE, check_batch, checked

CLIP_T, REWARD, TYPICALITY, SHARPNESS = "CLIP-T", "ImageReward", "typicality", "sharpness"
SCORES = (CLIP_T, REWARD, TYPICALITY, SHARPNESS)
CELL = 192  # of the sheet


class ScorePictures(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ScorePictures", display_name="Score Pictures", category=inputs.category(),
            description="Scores every picture of a batch, sorts them, and hands on the best.",
            search_aliases=["best of", "rank", "CLIP score", "sort images", "pick best"],
            inputs=[
                io.Image.Input("images", tooltip="A batch of pictures."),
                io.Combo.Input("score", options=list(SCORES), default=TYPICALITY,
                               tooltip="What the pictures are sorted by, the highest first. CLIP-T: how well they fit "
                                       "the prompt. ImageReward: how much people would like them as answers to it, by "
                                       "reward_model. typicality: how near they are to the others, or to the "
                                       "reference. sharpness: the variance of the Laplacian."),
                io.String.Input("prompt", multiline=True, default="",
                                tooltip="What the pictures should show, for CLIP-T and ImageReward; else it may be "
                                        "empty."),
                io.Int.Input("keep", default=1, min=1, max=100000, tooltip="How many of the best are handed on."),
                io.Int.Input("shown", default=12, min=1, max=200, tooltip="How many are shown on the sheet."),
                io.ClipVision.Input("clip_vision", optional=True,
                                    tooltip="For typicality: compare pictures by ComfyUI's CLIP Vision."),
                IMAGE_ENCODER.Input("image_encoder", optional=True,
                                    tooltip="For CLIP-T and typicality: an encoder from LoadImageEncoder; a CLIP or "
                                            "SigLIP for CLIP-T."),
                io.Image.Input("reference", optional=True,
                               tooltip="For typicality: the pictures to be near to. Without them each picture is "
                                       "compared with the others of images."),
                IMAGE_ENCODER.Input("reward_model", optional=True,
                                    tooltip="For ImageReward: its folder from LoadImageEncoder."),
            ],
            outputs=[
                io.Image.Output("best", display_name="best", tooltip="The best, the best of them first."),
                io.Image.Output("sheet", display_name="sheet", tooltip="The pictures, sorted, with their scores."),
                TABLE.Output("table", display_name="table", tooltip="All scores of all pictures, for SaveTable."),
                io.Int.Output("index", display_name="index", tooltip="The place of the best in the batch, from 0."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, images, score, prompt, keep, shown, clip_vision=None, image_encoder=None, reference=None,
                reward_model=None) -> io.NodeOutput:
        text = prompt.strip()
        source = inputs.encoder_name(clip_vision, image_encoder)
        check_pictures(images, score, keep, text, source, reference)
        check_reward(score, text, reward_model)
        asked = text and (score == CLIP_T or inputs.reads_prompts(image_encoder))
        words = inputs.prompt_embedding(image_encoder, text) if asked else None
        scores = all_scores(images, reference, (clip_vision, image_encoder) if source else None, words)
        if reward_model is not None and text:
            scores[REWARD] = encoders.image_rewards(reward_model.on_device(), images, text,
                                                    watchers=comfyui.reading_pictures())
        order = metrics.ranked(scores, score)
        settings = {"encoder": source or None, "score": score, "prompt": text, "images": len(images),
                    "images_key": metrics.pictures_key(images)}
        if REWARD in scores:
            settings["reward_model"] = reward_model.encoder.name
        if reference is not None:
            settings |= {"reference": len(reference), "reference_key": metrics.pictures_key(reference)}
        beside = metrics.BESIDE_OTHERS if reference is None else "beside the reference"
        table = metrics.score_table(scores, order, settings, beside=beside)
        captions = [f"{rank}. picture {place + 1}\n" + "\n".join(
            f"{name} {values[place]:.3f}" for name, values in scores.items()) for rank, place in enumerate(order, 1)]
        sheet = figures.ranked_sheet(images[order[:shown]], captions[:shown], cell=CELL,
                                     title=f"{min(shown, len(images))} of {len(images)} pictures, by {score}")
        return io.NodeOutput(images[order[:keep]], sheet, table, order[0])


def all_scores(images: Tensor, reference: Tensor | None, encoder: tuple[Any, Any] | None,
               words: Tensor | None) -> dict[str, Tensor]:
    """Every score (N,) that can be taken of pictures with what is connected, by its name."""
    scores = {}
    if encoder is not None:
        features = inputs.picture_embeddings(images, *encoder)
        if words is not None:
            scores[CLIP_T] = metrics.prompt_similarity(features, words)
        if reference is not None:
            scores[TYPICALITY] = metrics.typicality(features, inputs.picture_embeddings(reference, *encoder),
                                                    own=metrics.own_pictures(images, reference))
        elif len(images) > 1:
            scores[TYPICALITY] = metrics.typicality(features, features, own=torch.eye(len(images), dtype=torch.bool))
    if min(images.shape[1:3]) > 2:
        scores[SHARPNESS] = metrics.sharpness(images)
    return scores


def check_reward(score: str, prompt: str, reward_model: Any) -> None:
    """Raise ValueError unless ImageReward can be asked, or is neither chosen nor connected."""
    if reward_model is not None:
        try:
            encoders.check_reward_model(reward_model.encoder)
        except ValueError as error:
            raise ValueError(f"{error} Connect it to reward_model, or disconnect that.") from None
    elif score == REWARD:
        raise ValueError("ImageReward is given by its own model, but none is connected: load its folder with "
                         "LoadImageEncoder and connect it to reward_model. The help page of LoadImageEncoder says "
                         "where its weights come from.")
    if score == REWARD and not prompt:
        raise ValueError("ImageReward is how much people like a picture as an answer to a prompt, but prompt is empty: "
                         "write what the pictures should show.")


def check_pictures(images: Tensor, score: str, keep: int, prompt: str, source: str, reference: Tensor | None) -> None:
    """Raise ValueError unless the pictures can be sorted by this score with what is connected."""
    for pictures, name in ((images, "images"), (reference, "reference")):
        if pictures is not None:
            check_batch(pictures, name)
            encoders.check_images(pictures)
            metrics.check_range(pictures[..., :3], f"The pictures of {name}")
    if keep > len(images):
        raise ValueError(f"keep is {keep}, but there are {len(images)} pictures: choose {len(images)} or fewer.")
    if score == CLIP_T and not prompt:
        raise ValueError("CLIP-T is how well pictures fit a prompt, but prompt is empty: write what they should show.")
    if score == TYPICALITY and not source:
        raise ValueError("typicality is taken by an encoder: connect image_encoder or clip_vision.")
    if score == TYPICALITY and reference is None and len(images) == 1:
        raise ValueError("typicality compares pictures with each other, but there is one: connect more, or a "
                         "reference.")
    if score == SHARPNESS and min(images.shape[1:3]) < 3:
        raise ValueError("sharpness takes pictures of 3 x 3 pixels or more.")
