"""SamenessMeter: how alike a model's samples of a prompt are."""
from __future__ import annotations

import dataclasses
import time
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...dma import diffusion, encoders, execution, figures, metrics
from .. import comfyui, inputs
from ..comfyui import ProgressReporter
from ..inputs import IMAGE_ENCODER, REPORT, checked

MOST_PROMPTS = 100
CELL, COLUMNS = 128, 8  # of the table


class SamenessMeter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SamenessMeter", display_name="Sameness Meter", category="dma",
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
            ],
            outputs=[
                io.Image.Output("table", display_name="table",
                                tooltip="A row for each prompt: the number, its interval, and some of its samples."),
                io.Image.Output("samples", display_name="samples",
                                tooltip="All samples, those of the first prompt first."),
                REPORT.Output("report", display_name="report",
                              tooltip="The numbers, for PlotReport and SaveReport."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, clip, vae, prompts, negative_prompt, latent_image, count, steps, cfg, scheduler, seed,
                clip_vision=None, image_encoder=None, batch_size=0) -> io.NodeOutput:
        started = time.monotonic()
        texts = listed(prompts)
        source = source_of(clip_vision, image_encoder)
        comfyui.check_vae(vae, model)
        shape = comfyui.latent_shape(model, latent_image)
        sigmas = comfyui.sigmas_of(model, scheduler, steps)
        batch = execution.batch_of(batch_size)
        negative, *positives = (comfyui.encoded(clip, text) for text in (negative_prompt, *texts))
        reporter = ProgressReporter(model, "SamenessMeter")
        pictures, found = [], []
        for number, (text, positive) in enumerate(zip(texts, positives)):
            def tell(progress: execution.Progress, number: int = number) -> None:
                reporter(dataclasses.replace(progress, fraction=(number + progress.fraction) / len(texts),
                                             message=f"prompt {number + 1} of {len(texts)}, {progress.message}"))

            def draw(denoiser: Any, tell: Any = tell) -> Tensor:
                return diffusion.plain_samples(
                    denoiser, sigmas, shape, count=count, seed=seed, batch=batch,
                    watchers=[execution.PassMonitor(tell, "sampling", len(sigmas) - 1)])

            latents = comfyui.with_denoiser(model, positive, negative, cfg, sigmas, shape, seed, draw, layer=None,
                                            gradients=False)
            pictures.append(comfyui.decoded(vae, comfyui.latents_out_of_model(model, latents)))
            encoders.check_images(pictures[-1])
            embeddings = (latents.flatten(1) if source == "latents"
                          else inputs.picture_embeddings(pictures[-1], clip_vision, image_encoder))
            found.append(measured(text, embeddings))
        report = metrics.SamenessReport(
            {"count": count, "source": source, "steps": steps, "scheduler": scheduler, "guidance_scale": cfg,
             "seed": seed, "shape": list(shape), "negative_prompt": negative_prompt}, found,
            time.monotonic() - started)
        captions = [f"{each.prompt}\n{each.sameness:.3f} ({each.low:.3f} to {each.high:.3f})" for each in found]
        table = figures.labelled_sheet(pictures, captions, title=f"How alike {count} samples are, by {source}",
                                       cell=CELL, columns=COLUMNS)
        return io.NodeOutput(table, torch.cat(pictures), report)


def listed(prompts: str) -> list[str]:
    """The prompts of a text, one a line. Raises ValueError for none, too many, and one that is there twice."""
    texts = [line.strip() for line in prompts.splitlines() if line.strip()]
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
    """What samples are compared by, in words. Raises ValueError if two encoders are connected."""
    if clip_vision is not None and image_encoder is not None:
        raise ValueError("clip_vision and image_encoder are both connected, but samples are compared by one of them: "
                         "disconnect the other.")
    if image_encoder is not None:
        return image_encoder.encoder.name
    return "latents" if clip_vision is None else "clip_vision"


def measured(prompt: str, embeddings: Tensor) -> metrics.PromptSameness:
    """The sameness of a prompt's samples, by their embeddings (N, D). Raises ValueError where it has none."""
    try:
        return metrics.PromptSameness(prompt, *metrics.sameness(embeddings))
    except ValueError as error:
        raise ValueError(f"The samples of {prompt!r} cannot be compared. {error} Look at what draws them: a damaged "
                         "checkpoint or VAE, a step or prompt without effect, or a patch that leaves one "
                         "picture.") from None
