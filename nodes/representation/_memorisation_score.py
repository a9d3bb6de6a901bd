"""MemorisationScore: which pictures a model has by heart, by its features of them, by what their prompts change, and by
its loss on them."""
from __future__ import annotations

import time
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...dma import execution, figures, metrics, representation
from ...dma.representation import (
    DEVIATION,
    FIT,
    GUIDANCE,
    MAXIMUM,
    OVER_SPACE,
    SCORES,
    Reading,
    check_alike,
)
from .. import comfyui, inputs
from ..inputs import REPORT, checked

SCORE = ("What the flag goes by; the others stand beside it. deviation: the standard deviation of features over "
         "channels, large where few channels hold nearly all (the source). norm and spikiness: the other statistics of "
         "its code. guidance: how much the prompt changes what is predicted, which needs prompts. fit: minus the loss "
         "on the picture, with its prompt where there are prompts.")


class MemorisationScore(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        pictures = io.MatchType.Template("pictures", [io.Latent, io.Image])
        return io.Schema(
            node_id="MemorisationScore", display_name="Memorisation Score", category=inputs.category("representation"),
            description="Flags pictures that a model has by heart, by its features of them and its loss on them beside "
                        "those of references.",
            search_aliases=["memorization", "memorised", "training data", "copy", "replication", "copyright",
                            "privacy", "overfitting"],
            inputs=[
                io.Model.Input("model", tooltip="Any model that H-Space Hook takes. It is not changed."),
                io.Conditioning.Input("positive",
                                      tooltip="The prompt under which features are read: an empty one, CLIP Text "
                                              "Encode without text."),
                io.MatchType.Input("pictures", template=pictures,
                                   tooltip="What is judged: latents, or images with the vae. Samples of the model, or "
                                           "pictures that may have been in its training."),
                io.MatchType.Input("references", template=pictures,
                                   tooltip="What is usual: pictures of the same kind and size that the model certainly "
                                           "does not have by heart, such as your own, or samples that are like none of "
                                           "its training. 0.05 needs 19 of them, 0.01 needs 99."),
                io.Combo.Input("score", options=list(SCORES), default=DEVIATION, tooltip=SCORE),
                io.Float.Input("false_positive_rate", default=0.05, min=0.001, max=0.5, step=0.001, round=False,
                               tooltip="How many of the pictures that are like the references are flagged at most. "
                                       "0.05 needs 19 references, 0.01 needs 99."),
                io.String.Input("layers", default="",
                                tooltip="Layers whose scores are averaged: names or beginnings of names, such as "
                                        "middle_block, output_blocks or joint_blocks.1*. Empty: the first third of a "
                                        "U-Net's output blocks, which are those of the source; the block in the middle "
                                        "of a transformer."),
                inputs.levels_to_read("0.99"),
                io.Combo.Input("pooling", options=list(OVER_SPACE), default=OVER_SPACE[0],
                               tooltip="What is taken of each channel over space. maximum: its largest value, as in "
                                       "the source's code. mean: its average."),
                inputs.draws(1),
                inputs.seed("Seed of the noise. All pictures get the same draws."),
                io.Clip.Input("clip", optional=True, tooltip="The text encoder of the model, where there are prompts."),
                io.String.Input("prompts", default="", multiline=True, optional=True,
                                tooltip="For the scores guidance and fit: the prompt of each of the pictures, one a "
                                        "line, or a single line for all. Empty: guidance is left out."),
                io.String.Input("reference_prompts", default="", multiline=True, optional=True,
                                tooltip="The same for the references."),
                io.String.Input("guidance_levels", default="0.1, 0.3, 0.5, 0.7, 0.9", optional=True, advanced=True,
                                tooltip="Noise levels at which the scores guidance and fit ask what is predicted, as "
                                        "shares of sampling: 0 is pure noise at the start, 1 is clean."),
                io.Vae.Input("vae", optional=True, tooltip="The VAE of the model, where images are connected."),
                inputs.batch_size(),
                inputs.resume(),
            ],
            outputs=[
                io.Image.Output("figure", display_name="figure",
                                tooltip="The scores of the references, and where the pictures lie among them."),
                io.String.Output("table", display_name="table",
                                 tooltip="Score, percentile and flag of each picture as a Markdown table, for Preview "
                                         "as Text."),
                REPORT.Output("report", display_name="report", tooltip="All numbers, for PlotReport and SaveReport."),
                io.Boolean.Output("flagged", display_name="flagged", tooltip="Whether any of the pictures is flagged."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, positive, pictures, references, score, false_positive_rate, layers, levels, pooling, draws,
                seed, clip=None, prompts="", reference_prompts="", guidance_levels="0.1, 0.3, 0.5, 0.7, 0.9", vae=None,
                batch_size=0, resume=True) -> io.NodeOutput:
        started = time.monotonic()
        comfyui.check_model(model)
        comfyui.check_conditioning(positive, "positive")
        check_one_entry(positive, pooling)
        chosen, sigmas = layers_of(model, layers), inputs.noise_levels(model, levels)
        given = {"pictures": pictures, "references": references}
        counts = {name: inputs.count_of_pictures(model, each, vae, name) for name, each in given.items()}
        said = {"pictures": prompts_of(prompts, counts["pictures"], "prompts", "pictures"),
                "references": prompts_of(reference_prompts, counts["references"], "reference_prompts", "references")}
        rows = inputs.different_rows(references)
        given["references"] = inputs.take(references, rows)
        said["references"] = [said["references"][row] for row in rows if said["references"]]
        inputs.check_reference_count(counts["references"], "pictures", false_positive_rate, "connect more")
        inputs.check_reference_count(len(rows), "different pictures", false_positive_rate, "connect more")
        inputs.check_one_size(given, vae)
        read_prompts = conditionings(model, said, score, clip, positive)
        asked = levels_of_guidance(model, guidance_levels) if read_prompts or score == FIT else []
        comfyui.check_active(model, positive, "positive", asked)
        latents = {name: inputs.latents_of_pictures(each, vae) for name, each in given.items()}
        inputs.check_one_size(latents, vae)
        reading = Reading(draws, seed, pooling)
        found = {name: inputs.represented(model, positive, latent, sigmas, chosen, reading, batch_size=batch_size,
                                          resume=resume) for name, latent in latents.items()}
        for layer in chosen:
            check_alike(found["pictures"][layer], found["references"][layer], comfyui.tolerance_of_model(model))
        scores = {name: representation.channel_scores(list(each.values())) for name, each in found.items()}
        if asked:
            for name, latent in latents.items():
                scores[name] |= told_by_prompts(model, positive, latent, said[name], read_prompts, asked, reading,
                                                batch_size)
        report = representation.memorisation_report(
            scores["pictures"], scores["references"], score, false_positive_rate=false_positive_rate,
            own=metrics.same_rows(*(latents[name]["samples"] for name in ("pictures", "references"))),
            settings={"layers": chosen, "sigmas": sigmas, "pooling": pooling, "draws": draws, "seed": seed,
                      **({"guidance_sigmas": asked} if asked else {}),
                      # Samples of other prompts are the very references that are asked for.
                      **inputs.sampled_otherwise(*map(recorded_of, given.values()), leaving_out=("prompts",))},
            seconds=time.monotonic() - started)
        return io.NodeOutput(figures.plot_memorisation(report), report.table(), report, any(report.flagged))


def check_one_entry(positive: list, pooling: str) -> None:
    """Raise ValueError for a prompt of several entries whose features would have to be mixed before their maximum over
    space is taken, and not after it."""
    if pooling == MAXIMUM and len(positive) > 1:
        raise ValueError(f"positive is combined of {len(positive)} prompts, of which the maximum over space of their "
                         "mixed features cannot be taken: connect a single CLIP Text Encode, or choose mean for "
                         "pooling.")


def recorded_of(pictures: Any) -> list[comfyui.Recorded | None]:
    """What RecordPredictions has recorded of each of some latents; nothing of images."""
    return comfyui.recorded(pictures["samples"]) if isinstance(pictures, dict) else []


def layers_of(model: Any, text: str) -> list[str]:
    """The layers that a text names, or those that are read by default."""
    names = comfyui.layer_names(model)
    return inputs.chosen_layers(names, text) if text.strip() else inputs.source_of_memorisation(names)


def prompts_of(text: str, count: int, name: str, of: str) -> list[str]:
    """A prompt for each of `count` pictures, from the lines of a text; none of an empty text. Raises ValueError for
    another number of lines than 1 and that of the pictures."""
    lines, filled = ([line.strip() for line in each.splitlines()] for each in (text, text.rstrip()))
    # Empty ones at the end are prompts of the last pictures, but not beside a single one, which is for all.
    if len(filled) < 2 or len(lines) != count:
        lines = filled
    if not lines:
        return []
    if len(lines) not in (1, count):
        raise ValueError(f"{name} has {len(lines)} lines, but {of} holds {count}: write one line for each, or a single "
                         "one for all.")
    return lines * count if len(lines) == 1 else lines


def conditionings(model: Any, said: dict[str, list[str]], score: str, clip: Any, empty: list) -> dict[str, list]:
    """The CONDITIONING of each prompt, with all that the empty one carries besides its words, such as a ControlNet, a
    size or FluxGuidance: only the words may differ, where it is told what they change.

    Raises ValueError for prompts without their other half, without a CLIP or with that of another model, and for a
    score that lacks them.
    """
    if bool(said["pictures"]) != bool(said["references"]):
        here, lacking = ("prompts", "reference_prompts") if said["pictures"] else ("reference_prompts", "prompts")
        raise ValueError(f"There are {here} but no {lacking}: what a prompt changes is told of both or of neither, so "
                         "write both or empty both.")
    if said["pictures"] and clip is None:
        raise ValueError("There are prompts, but no clip to read them: connect the CLIP of the model.")
    if score == GUIDANCE and not said["pictures"]:
        others = ", ".join(name for name in SCORES if name != GUIDANCE)
        raise ValueError("The score guidance is how much a prompt changes what is predicted: write prompts and "
                         f"reference_prompts, or choose one of {others}.")
    found = {prompt: [[embedding, {**carried, **own}] for _, carried in empty
                      for embedding, own in comfyui.encoded(clip, prompt)]
             for prompt in dict.fromkeys([*said["pictures"], *said["references"]])}
    for positive in found.values():
        comfyui.check_fits(model, positive)
    return found


def levels_of_guidance(model: Any, text: str) -> list[float]:
    """The noise levels of `guidance_levels`. Raises ValueError for a clean one, on which there is no noise to
    predict."""
    sigmas = inputs.noise_levels(model, text)
    if sigmas[-1] <= 0:
        raise ValueError(f"guidance_levels {text!r} holds 1, a clean latent, at which there is no noise to predict: "
                         "write numbers from 0 to below 1, for example 0.1, 0.5, 0.9.")
    return sigmas


def told_by_prompts(model: Any, empty: list, latent: dict, prompts: list[str], conditionings: dict[str, list],
                    sigmas: list[float], reading: Reading, batch_size: int) -> dict[str, Tensor]:
    """How much each latent's own prompt changes its prediction (N,), and how well the model knows it (N,), with its
    prompt, or with the empty one where there are no prompts; latents of one prompt are asked together."""
    clean = comfyui.latents_into_model(model, comfyui.samples_of(model, latent))
    shape = tuple(clean.shape[1:])
    batch = execution.choose_batch(execution.batch_of(batch_size), shape)  # one that was too large stays smaller
    rows_of = {prompt: [row for row, each in enumerate(prompts) if each == prompt] for prompt in dict.fromkeys(prompts)}
    found = {score: torch.zeros(len(clean), dtype=torch.float64) for score in ((GUIDANCE, FIT) if prompts else (FIT,))}
    monitor = execution.PassMonitor(comfyui.progress_bar(), "asking what is predicted",
                                    passes=max(1, len(rows_of)) * len(sigmas))
    options = dict(draws=reading.draws, seed=reading.seed, batch=batch, watchers=[monitor])
    for prompt, rows in (rows_of or {None: list(range(len(clean)))}).items():
        def ask(denoiser: Any, rows: list[int] = rows) -> dict[str, Tensor]:
            own = denoiser.of(rows)  # of what holds one entry for each picture those of these
            conditional, chosen = own.with_guidance(1.0), clean[rows]
            if not prompts:
                return {FIT: representation.fit(conditional, chosen, sigmas, **options)}
            return representation.scores_by_prompts(conditional, own.with_guidance(0.0), chosen, sigmas, **options)

        told = comfyui.with_denoiser(model, empty if prompt is None else conditionings[prompt], empty, 1.0,
                                     torch.tensor([*sigmas, 0.0]), shape, reading.seed, ask, layer=None,
                                     latents=len(clean), gradients=False,
                                     at_once=min(batch_size, len(clean) * reading.draws))
        for score, values in found.items():
            values[rows] = told[score]
    return found
