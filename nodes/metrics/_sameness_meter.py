"""SamenessMeter: how alike a model's samples of a prompt are."""
from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...dma import encoders, execution, figures, metrics
from .. import comfyui, inputs
from ..comfyui import ProgressReporter
from ..inputs import IMAGE_ENCODER, REPORT, checked
from ._plain_samples import drawn

MOST_PROMPTS = 100
CELL, COLUMNS = 128, 8  # of the table
MOST_PIXELS = 2**26  # of all pictures of the output samples together: 0.8 GB in fp32
AT_ONCE = 16  # pictures that are decoded and compared at once


class SamenessMeter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SamenessMeter", display_name="Sameness Meter", category=inputs.category(),
            description="Measures how alike a model's samples of a prompt are, for a list of prompts: one number with "
                        "its interval for each.",
            search_aliases=["diversity", "variety", "seed variation", "same face", "mode collapse", "similarity"],
            inputs=[
                io.Model.Input("model", tooltip="Any model that a KSampler takes, patched ones included: measure with "
                                                "and without a patch to see what it does."),
                io.Clip.Input("clip", tooltip="The text encoder of the model."),
                io.Vae.Input("vae", tooltip="The VAE of the model, for the pictures."),
                io.String.Input("prompts", multiline=True, default="",
                                tooltip="One prompt a line, at most 100; empty lines are left out."),
                io.String.Input("negative_prompt", multiline=True, default="",
                                tooltip="What guidance leads away from; may be empty."),
                inputs.latent_size(),
                io.Int.Input("count", default=16, min=metrics.FEWEST_SAMPLES, max=1024,
                             tooltip="Samples of each prompt. The interval narrows with the square root; 16 tell a "
                                     "varied prompt from a uniform one."),
                inputs.steps(),
                io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1,
                               tooltip="Guidance scale. The higher, the more alike samples are: compare at the one "
                                       "that you use."),
                inputs.scheduler("Noise levels. Sampling is deterministic (ddim)."),
                inputs.seed("Seed of the noise, the same for every prompt: that of a KSampler with a batch of count."),
                io.ClipVision.Input("clip_vision", optional=True,
                                    tooltip="Compare pictures by ComfyUI's CLIP Vision. Without it and without "
                                            "image_encoder finished latents are compared, which see places and "
                                            "colours more than things."),
                IMAGE_ENCODER.Input("image_encoder", optional=True,
                                    tooltip="Compare pictures by an encoder from LoadImageEncoder."),
                inputs.batch_size(),
                inputs.resume(),
            ],
            outputs=[
                io.Image.Output("table", display_name="table",
                                tooltip="A row for each prompt: the number, its interval, and some of its samples."),
                io.Image.Output("samples", display_name="samples",
                                tooltip="All samples, those of the first prompt first; made smaller where together "
                                        "they have more than 67 million pixels (64 of 1024 x 1024)."),
                REPORT.Output("report", display_name="report",
                              tooltip="The numbers, for PlotReport and SaveReport."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, clip, vae, prompts, negative_prompt, latent_image, count, steps, cfg, scheduler, seed,
                clip_vision=None, image_encoder=None, batch_size=0, resume=True) -> io.NodeOutput:
        started = time.monotonic()
        texts = listed(prompts)
        source = source_of(clip_vision, image_encoder)
        comfyui.check_vae(vae, model)
        shape = comfyui.drawn_shape(model, latent_image, "SamenessMeter")
        sigmas = comfyui.sigmas_of(model, scheduler, steps)
        batch = execution.batch_of(batch_size)
        negative, *positives = (comfyui.encoded(clip, text) for text in (negative_prompt, *texts))
        reporter = ProgressReporter(model, "SamenessMeter")
        shown = Shown(len(texts) * count)
        found, before = [], 0.0
        for number, (text, positive) in enumerate(zip(texts, positives)):
            def tell(progress: execution.Progress, number: int = number) -> None:
                reporter(dataclasses.replace(progress, fraction=(number + progress.fraction) / len(texts),
                                             message=f"prompt {number + 1} of {len(texts)}, {progress.message}"))

            with naming(f"Prompt {number + 1} of {len(texts)}, {text!r}", kept=resume):
                latents, seconds = drawn((model, positive, negative, cfg, sigmas, shape, seed), count, batch, tell,
                                         resume=resume)
                before += seconds
                found.append(measured(text, seen(model, vae, latents, shown, clip_vision, image_encoder)))
        report = metrics.SamenessReport(
            {"count": count, "source": source, "steps": steps, "scheduler": scheduler, "guidance_scale": cfg,
             "seed": seed, "shape": list(shape), "negative_prompt": negative_prompt}, found,
            before + time.monotonic() - started)
        left_out = f"\n({COLUMNS} of {count})" if count > COLUMNS else ""
        captions = [f"{each.prompt}\n{each.sameness:.3f} ({each.low:.3f} to {each.high:.3f}){left_out}"
                    for each in found]
        table = figures.labelled_sheet([torch.cat(row) for row in shown.rows], captions, cell=CELL, columns=COLUMNS,
                                       title=f"How alike {count} samples are, by {source}")
        return io.NodeOutput(table, shown.pictures, report)


class Shown:
    """What is kept of `total` pictures to be looked at: all of them within `MOST_PIXELS`, and the first of each row."""

    def __init__(self, total: int):
        self.total, self.taken, self.pictures = total, 0, torch.empty(0)
        self.rows: list[list[Tensor]] = []

    def take(self, pictures: Tensor) -> None:
        """The next pictures (B, H, W, 3) of the last row."""
        if not self.taken:
            height = figures.height_within(MOST_PIXELS, self.total, *pictures.shape[1:3])
            if height < pictures.shape[1]:
                logging.info("SamenessMeter: the output samples shows %d pictures at a height of %d pixels instead of "
                             "%d.", self.total, height, pictures.shape[1])
            self.pictures = torch.empty(self.total, *figures.thumbnails(pictures[:1], height).shape[1:])
        room = COLUMNS - sum(map(len, self.rows[-1]))
        if room > 0:
            self.rows[-1].append(figures.thumbnails(pictures[:room], CELL))
        self.pictures[self.taken : self.taken + len(pictures)] = figures.thumbnails(pictures, self.pictures.shape[1])
        self.taken += len(pictures)


def seen(model: Any, vae: Any, latents: Tensor, shown: Shown, clip_vision: Any, image_encoder: Any) -> Tensor:
    """The embeddings (N, D) that one prompt's samples are compared by; `shown` takes their pictures."""
    shown.rows.append([])
    embeddings = []
    for part in latents.split(AT_ONCE):
        pictures = comfyui.decoded(vae, comfyui.latents_out_of_model(model, part))
        encoders.check_images(pictures)
        shown.take(pictures)
        embeddings.append(part.flatten(1) if clip_vision is None and image_encoder is None
                          else inputs.picture_embeddings(pictures, clip_vision, image_encoder))
    return torch.cat(embeddings)


@contextlib.contextmanager
def naming(prompt: str, *, kept: bool) -> Iterator[None]:
    """Let errors that are raised inside name the prompt, and say what is kept of the run."""
    advice = ("Samples that have been drawn are kept: mend this or leave the prompt out, and queue again." if kept else
              "With resume on, samples that have been drawn would be kept.")
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{prompt}: {error} {advice}") from error
    except Exception:
        # An interrupt, a lack of memory: ComfyUI knows those by their type.
        logging.info("SamenessMeter has stopped. %s. %s", prompt, advice)
        raise


def listed(prompts: str) -> list[str]:
    """The prompts of a text, one a line. Raises ValueError for none, too many, and one that is there twice."""
    texts = inputs.filled_lines(prompts)
    if not texts:
        raise ValueError("prompts is empty: write at least one prompt, one a line.")
    if len(texts) > MOST_PROMPTS:
        raise ValueError(f"prompts has {len(texts)} lines, but at most {MOST_PROMPTS} are measured at once: divide "
                         "them.")
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None:
        raise ValueError(f"prompts has {twice!r} more than once, which would be measured to the same number: leave one "
                         "out.")
    return texts


def source_of(clip_vision: Any, image_encoder: Any) -> str:
    """What samples are compared by, in words. Raises ValueError if two encoders are connected, or one that compares
    nothing."""
    return inputs.check_one_encoder(clip_vision, image_encoder) or "latents"


def measured(prompt: str, embeddings: Tensor) -> metrics.PromptSameness:
    """The sameness of a prompt's samples, by their embeddings (N, D). Raises ValueError where it has none."""
    try:
        return metrics.PromptSameness(prompt, *metrics.sameness(embeddings))
    except ValueError as error:
        raise ValueError(f"Its samples cannot be compared. {error} Look at what draws them: a damaged checkpoint or "
                         "VAE, a step or prompt without effect, or a patch that leaves one picture.") from None
