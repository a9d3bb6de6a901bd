"""HallucinationFlag: which samples still moved unusually much at the end of their sampling."""
from __future__ import annotations

import math
from typing import Any

import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ...dma import figures, metrics
from ...dma.statistics import listed
from .. import comfyui
from ..inputs import (
    REPORT,
    category,
    check_batch,
    check_reference_count,
    checked,
    sampled_otherwise,
    take,
)


class HallucinationFlag(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="HallucinationFlag", display_name="Hallucination Flag", category=category(),
            description="Flags samples and averages that still moved unusually much in the last steps of their "
                        "sampling, as some blends of two modes do that the model has never seen.",
            search_aliases=["hallucination", "artifact", "blend", "mode interpolation", "quality", "filter",
                            "extra fingers"],
            inputs=[
                io.Latent.Input("latents", tooltip="What is judged: finished latents of a KSampler, or of a node of "
                                                   "this pack that samples to the end, whose model went through "
                                                   "RecordPredictions."),
                io.Latent.Input("references",
                                tooltip="What is usual: plain samples of the same prompt, model, sampler, steps and "
                                        "guidance, recorded as well. For averages, the samples that they are averages "
                                        "of."),
                io.Float.Input("false_positive_rate", default=0.05, min=0.001, max=0.5, step=0.001, round=False,
                               tooltip="How many of the samples that are like the references are flagged at most. 0.05 "
                                       "needs 19 references, 0.01 needs 99."),
            ],
            outputs=[
                io.Image.Output("figure", display_name="figure",
                                tooltip="The scores of the references, and where the latents lie among them."),
                io.String.Output("table", display_name="table",
                                 tooltip="Score, percentile and flag of each latent as a Markdown table, for Preview "
                                         "as Text."),
                REPORT.Output("report", display_name="report", tooltip="All numbers, for PlotReport and SaveReport."),
                io.Boolean.Output("flagged", display_name="flagged", tooltip="Whether any of the latents is flagged."),
                io.Latent.Output("kept", display_name="kept",
                                 tooltip="The latents that are not flagged. Where all are, what hangs on this output "
                                         "does not run."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, latents, references, false_positive_rate) -> io.NodeOutput:
        check_reference_count(len(samples_in(references, "references")), "latents", false_positive_rate, "sample more")
        check_same_size(samples_in(latents, "latents"), references["samples"])
        found, usual = recorded_in(latents, "latents"), different(recorded_in(references, "references"))
        check_reference_count(len(usual), "different latents", false_positive_rate, "sample more")
        check_same_levels(found, usual)
        levels = usual[0].levels
        report = metrics.hallucination_report(
            [each.score for each in found], [each.score for each in usual], false_positive_rate=false_positive_rate,
            own=torch.tensor([[each is other for other in usual] for each in found]),
            settings={"last_steps": len(levels), "levels": list(levels), **sampled_otherwise(found, usual)})
        kept = [row for row, flag in enumerate(report.flagged) if not flag]
        return io.NodeOutput(figures.plot_hallucination(report), table_of(report), report, any(report.flagged),
                             take(latents, kept) if kept else ExecutionBlocker(None))


def samples_in(latent: dict, name: str) -> Tensor:
    """The samples of a LATENT input. Raises ValueError, calling it `name`, for empty and combined ones, and NaN."""
    check_batch(latent["samples"], name)
    return latent["samples"]


def check_same_size(latents: Tensor, references: Tensor) -> None:
    """Raise ValueError for latents of another size than the references: their scores are means over other places."""
    one, other = tuple(latents.shape[1:]), tuple(references.shape[1:])
    if one != other:
        raise ValueError(f"latents and references are of different sizes, {one} and {other}, and their scores cannot "
                         "be compared: sample references of the same size by the same model.")


def different(found: list[comfyui.Recorded]) -> list[comfyui.Recorded]:
    """Each record once: a latent that is there twice is not two independent references."""
    return list({id(each): each for each in found}.values())


def recorded_in(latent: dict, name: str) -> list[comfyui.Recorded]:
    """What was recorded of each latent of an input. Raises ValueError where there is nothing of one."""
    found = comfyui.recorded(samples_in(latent, name))
    lacking = [row for row, each in enumerate(found, 1) if each is None]
    if lacking:
        which = ("none of them was" if len(lacking) == len(found)
                 else f"those with the numbers {listed(lacking)} were not")
        raise ValueError(
            f"{name} holds {len(found)} latents, and {which} recorded. Connect the model to RecordPredictions and from "
            "there to whatever samples them, with at least as many steps as last_steps, down to the end, and connect "
            "what it gives as it is: not decoded and encoded again, scaled, cropped, or loaded from a file. What was "
            "sampled before ComfyUI was started, and a run that is gone on with from its saved state after its last "
            "steps, has no record: change the seed, or turn resume off once.")
    return [each for each in found if each is not None]


def check_same_levels(found: list[comfyui.Recorded], usual: list[comfyui.Recorded]) -> None:
    """Raise ValueError unless all latents were recorded at the same noise levels."""
    for name, each in [*(("latents", each) for each in found), *(("references", each) for each in usual)]:
        if not same_levels(each.levels, usual[0].levels):
            raise ValueError(
                f"The first of references was recorded in its last {described(usual[0].levels)}, but one of {name} in "
                f"its last {described(each.levels)}, and their scores cannot be compared: sample both with the same "
                "steps, scheduler and last_steps.")


def same_levels(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether noise levels are those of one schedule: a card and a CPU give them other last bits."""
    return len(one) == len(other) and all(math.isclose(*pair, rel_tol=1e-5) for pair in zip(one, other))


def described(levels: tuple[float, ...]) -> str:
    return f"{len(levels)} steps, from noise level {levels[0]:.3g} to {levels[-1]:.3g}"


def table_of(report: metrics.HallucinationReport) -> str:
    rows = [f"| {number} | {score:.3g} | {percentile:.1f} | {'flagged' if flag else ''} |" for number, (
        score, percentile, flag) in enumerate(zip(report.scores, report.percentiles, report.flagged), 1)]
    rate: Any = report.settings["false_positive_rate"]
    return "\n".join([
        "| latent | score | percentile | flag |", "| --- | --- | --- | --- |", *rows, "",
        f"{sum(report.flagged)} of {len(rows)} are above {report.threshold:.3g}, as at most {rate:.1%} of samples are "
        f"that are like the {len(report.references)} references.",
        *(line for caution in report.cautions for line in ("", caution))])
