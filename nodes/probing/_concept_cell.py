"""ConceptSheetModels and ConceptSheetCell: what a concept sheet unfolds into for each of its cells."""
from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...dma import encoders, execution, figures, metrics
from .. import comfyui, inputs
from ..comfyui import CHECKPOINTS, LORAS, OneCheckpoint, ProgressReporter
from ..inputs import IMAGE_ENCODER, SHEET_CELL, SHEET_MODELS, checked
from ..mean_shift import MentalAverage
from ..metrics import drawn
from ._attributes import NONE, WHAT, check_attributes, seen_in
from ._failures import count_failure, failures

AT_ONCE = 16  # pictures that are decoded and looked at together
HIGHEST = 1024  # pixels of an average that is kept
INSIDE = "Part of ConceptSheet, which makes this node itself."


def of_one_call(execute: Callable) -> Callable:
    """A decorator for the `execute` of a node that takes lists: of each it hands on the value that `call` counts to, or
    the last. A link leads to all of a list, and the node would run for each of it in every run of ConceptSheet."""
    @functools.wraps(execute)
    def run(cls: type[io.ComfyNode], **given: list) -> Any:
        call = given.get("call", [0])[0]
        number = call if isinstance(call, int) and call >= 0 else 0  # anything else is refused by `checked`
        return execute(cls, **{name: values[min(number, len(values) - 1)] for name, values in given.items()})

    return run


class ConceptSheetModels(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ConceptSheetModels", display_name="Concept Sheet: Models",
            category=inputs.category("inside"), is_dev_only=True,
            description=f"{INSIDE} Holds the checkpoint that the cells of one column share, one at a time.",
            inputs=[],
            outputs=[SHEET_MODELS.Output("models", display_name="models",
                                         tooltip="The one checkpoint, for the cells.")],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(OneCheckpoint())


class ConceptSheetCell(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ConceptSheetCell", display_name="Concept Sheet: Cell",
            category=inputs.category("inside"), is_dev_only=True,
            description=f"{INSIDE} One word by one model: its average, and what is measured of samples from the same "
                        "noise.",
            is_input_list=True,
            inputs=[
                io.String.Input("checkpoint", default="", tooltip="The checkpoint of the column; empty for the MODEL."),
                io.String.Input("lora", default="", tooltip="The LoRA of the column; empty for none."),
                io.Float.Input("strength", default=1.0, min=-100.0, max=100.0, step=0.01,
                               tooltip="Strength of the LoRA."),
                io.String.Input("prompt", multiline=True, default="", tooltip="The word in its template."),
                io.String.Input("negative_prompt", multiline=True, default="", tooltip="As in ConceptSheet."),
                io.Int.Input("width", default=512, min=16, max=16384, step=8, tooltip="As in ConceptSheet."),
                io.Int.Input("height", default=512, min=16, max=16384, step=8, tooltip="As in ConceptSheet."),
                io.Int.Input("count", default=32, min=1, max=100000, tooltip="As in ConceptSheet."),
                io.Int.Input("samples", default=16, min=0, max=1024, tooltip="As in ConceptSheet."),
                inputs.steps(),
                io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1, tooltip="As in ConceptSheet."),
                inputs.scheduler(),
                inputs.seed("As in ConceptSheet."),
                io.Int.Input("averaged_steps", default=6, min=1, max=1000, tooltip="As in ConceptSheet."),
                io.Combo.Input("attributes", options=list(WHAT), default=NONE, tooltip="As in ConceptSheet."),
                io.String.Input("attribute_text", multiline=True, default="", tooltip="The prompts or the question."),
                inputs.batch_size(),
                inputs.resume(),
                SHEET_MODELS.Input("models", optional=True, tooltip="Loads the checkpoint of the column."),
                io.Model.Input("model", optional=True, tooltip="The model of columns of LoRAs."),
                io.Clip.Input("clip", optional=True, tooltip="Its text encoder."),
                io.Vae.Input("vae", optional=True, tooltip="Its VAE."),
                IMAGE_ENCODER.Input("image_encoder", optional=True, tooltip="As in ConceptSheet."),
                io.Int.Input("call", default=0, min=0, max=100000, optional=True,
                             tooltip="Which one, where a list is connected to ConceptSheet, which then runs for each."),
            ],
            outputs=[SHEET_CELL.Output("cell", display_name="cell", tooltip="What was found, for the sheet.")],
        )

    @classmethod
    def fingerprint_inputs(cls, checkpoint=("",), lora=("",), prompt=("",), negative_prompt=("",), **others) -> list:
        return [*stamps_of(checkpoint[0], lora[0]), comfyui.embedding_stamps(prompt[0], negative_prompt[0]),
                failures((checkpoint[0], lora[0], prompt[0]))]

    @classmethod
    @of_one_call
    @checked()
    def execute(cls, checkpoint, lora, strength, prompt, negative_prompt, width, height, count, samples, steps, cfg,
                scheduler, seed, averaged_steps, attributes, attribute_text, batch_size=0, resume=True, models=None,
                model=None, clip=None, vae=None, image_encoder=None, call=0) -> io.NodeOutput:
        try:
            if checkpoint:
                model, clip, vae = models.get(checkpoint)
            if clip is None:
                raise ValueError("This checkpoint has no text encoder, which the words are read by.")
            comfyui.check_vae(vae, model)
            check_attributes(attributes, attribute_text, image_encoder)
            if lora:
                model, clip = comfyui.with_lora_file(model, clip, lora, strength)
            positive, negative = (comfyui.encoded(clip, text) for text in (prompt, negative_prompt))
            size = empty_latent(model, width, height)
            average, _, report = MentalAverage.execute(
                model, positive, size, count, steps, averaged_steps, cfg, scheduler, seed, negative=negative,
                batch_size=batch_size, resume=resume).args
            picture = comfyui.decoded(vae, average)[:1]
            encoders.check_images(picture)
            sampling = (model, positive, negative, cfg, comfyui.sigmas_of(model, scheduler, steps),
                        comfyui.latent_shape(model, size), seed)
            found = looked_at(picture, report.levels[-1].mean_error,
                              pictures_of(sampling, vae, samples, batch_size, resume), attributes, attribute_text,
                              image_encoder)
        except Exception as error:  # an interrupt is none
            comfyui.free_after(error)
            count_failure((checkpoint, lora, prompt))
            logging.warning("ConceptSheet: %s%s%s: %s", checkpoint or "the model", f" with {lora}" * bool(lora),
                            f", {prompt!r}", error, exc_info=not isinstance(error, ValueError))
            found = metrics.ConceptCell(problem=reason(error))
        return io.NodeOutput(found)


def stamps_of(checkpoint: str, lora: str) -> list[str]:
    """What tells the contents of the files of a column from others; words where there is none."""
    found = []
    for kind, name in ((CHECKPOINTS, checkpoint), (LORAS, lora)):
        try:
            found.append(str(comfyui.stamp(kind, name)) if name else "")
        except ValueError as error:
            found.append(str(error))
    return found


def reason(error: Exception) -> str:
    """Why a cell failed, in a sentence; the log has the rest."""
    text = str(error).strip()
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")


def empty_latent(model: Any, width: int, height: int) -> dict:
    """An empty LATENT of a size in pixels for any MODEL of pictures."""
    latent_format = model.model.latent_format
    ratio = latent_format.spacial_downscale_ratio
    rows, columns = max(1, height // ratio), max(1, width // ratio)
    return {"samples": torch.zeros(1, latent_format.latent_channels, rows, columns)}


def pictures_of(sampling: tuple, vae: Any, count: int, batch_size: int, resume: bool) -> Iterator[Tensor]:
    """Plain samples, decoded some at a time: (B, H, W, 3) each."""
    if count:
        latents, _ = drawn(sampling, count, execution.batch_of(batch_size),
                           ProgressReporter(sampling[0], "ConceptSheet"), resume=resume)
        for part in latents.split(AT_ONCE):
            yield comfyui.decoded(vae, comfyui.latents_out_of_model(sampling[0], part))


def looked_at(picture: Tensor, mean_error: float | None, samples: Iterable[Tensor], attributes: str,
              attribute_text: str, image_encoder: Any) -> metrics.ConceptCell:
    """The cell of an average (1, H, W, 3) and samples (B, H, W, 3)."""
    def features(pictures: Tensor) -> Tensor:
        if image_encoder is None:
            return metrics.same_pixels(pictures)
        return inputs.picture_embeddings(pictures, None, image_encoder)

    kept = figures.thumbnails(picture, min(picture.shape[1], HIGHEST))[0]
    found = metrics.ConceptCell((kept.clamp(0, 1) * 255).round().byte().cpu(), features(picture)[0],
                                own_sharpness=metrics.sharpness(picture).item(), mean_error=mean_error)
    parts, answers = [], []
    for pictures in samples:
        encoders.check_images(pictures)
        parts.append((features(pictures), metrics.same_pixels(pictures), metrics.sharpness(pictures)))
        answers += seen_in(attributes, attribute_text, image_encoder, pictures)
    if not parts:
        return found
    seen, small, sharpness = map(torch.cat, zip(*parts))
    return replace(found, features=seen, answers=tuple(answers), nearest=metrics.nearest_distances(small),
                   sharpness=sharpness)
