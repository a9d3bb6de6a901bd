"""MeanShard: some rows of a first mean, as a file."""
from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy_api.latest import io, ui

from ...dma import alignment, distributed, execution, mean_shift
from ...dma.execution import PassMonitor
from ...dma.statistics import BLOCK, PairedMoments, Shard, load_shard, save_shard, settings_key
from .. import comfyui, inputs
from ..comfyui import ProgressReporter, checkpoints
from ..inputs import HSPACE, checked

ENDING = ".safetensors"
MENTAL_AVERAGE, ALIGN_TRAJECTORIES = "MentalAverage", "AlignTrajectories"


class MeanShard(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="MeanShard", display_name="Mean Shard", category=inputs.category("distributed"),
            is_output_node=True,
            description="Takes some rows of the first mean of an average and writes them into a file, so that several "
                        "ComfyUIs share one average. MergeMeans puts the files together.",
            search_aliases=["distributed", "cluster", "several GPUs", "multi gpu", "shard", "parallel"],
            inputs=[
                io.MultiType.Input("hspace", [io.Model, HSPACE], display_name="model",
                                   tooltip="The model of the average. For AlignTrajectories also HSpaceHook, where it "
                                           "has one."),
                inputs.concept(),
                inputs.latent_size(),
                io.DynamicCombo.Input("average", options=averages(),
                                      tooltip="The node that goes on from the mean: MentalAverage takes that of its "
                                              "first level, AlignTrajectories that of the features of its first step."),
                io.Int.Input("start", default=0, min=0, max=10**8, step=BLOCK,
                             tooltip=f"The first row of this shard: a multiple of {BLOCK}."),
                io.Int.Input("count", default=64, min=1, max=10**8,
                             tooltip=f"How many rows this shard has: a multiple of {BLOCK}, or what is left. The next "
                                     "shard begins at start + count."),
                io.Int.Input("total", default=128, min=1, max=10**8,
                             tooltip="How many rows the whole mean has, the same in all shards."),
                inputs.steps(),
                io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1,
                               tooltip="Guidance scale, as in the node that goes on from the mean."),
                inputs.scheduler(),
                inputs.seed("Seed of all noise, the same in all shards: each draws its own rows of it."),
                io.String.Input("filename_prefix", default="means/mean",
                                tooltip="File name without rows and ending, in the output folder. Several ComfyUIs may "
                                        "share that folder."),
                io.Conditioning.Input("negative", optional=True,
                                      tooltip="What guidance leads away from, as in the node that goes on from the "
                                              "mean: AlignTrajectories needs it."),
                inputs.batch_size(),
                inputs.resume(),
            ],
            outputs=[io.String.Output("path", display_name="path",
                                      tooltip="The file, relative to the output folder, for MergeMeans.")],
        )

    @classmethod
    def fingerprint_inputs(cls, start=None, count=None, total=None, filename_prefix=None, **others) -> str | float:
        # ComfyUI does nothing again whose inputs are as before, but the file may be gone, or another one by now.
        if None in (start, count, total, filename_prefix):
            return float("nan")  # what comes over a link is not known yet
        return (comfyui.readable_fingerprint(f"{filename_prefix}{rows_and_ending(start, min(start + count, total))}")
                or float("nan"))

    @classmethod
    @checked()
    def execute(cls, hspace, positive, latent_image, average, start, count, total, steps, cfg, scheduler, seed,
                filename_prefix, negative=None, batch_size=0, resume=True) -> io.NodeOutput:
        stop = check_rows(start, count, total)
        mean = mean_of(average, hspace, positive, negative, cfg)
        shape = comfyui.drawn_shape(mean.model, latent_image, "MeanShard")
        sigmas = comfyui.sigmas_of(mean.model, scheduler, steps)
        settings = inputs.settings_of_mean(mean.values, mean.model, positive, mean.negative, shape, sigmas, seed,
                                           mean.guidance_scale, **mean.reading)
        with comfyui.explaining_what_cannot_be_written(filename_prefix):
            path = comfyui.fixed_output_path(filename_prefix, rows_and_ending(start, stop))
        name, key = comfyui.output_name(path), settings_key(settings, total)
        there = found_shard(path, name, key, start, stop)
        reporter = ProgressReporter(mean.model, "MeanShard")

        def measure(denoiser: Any) -> Shard | None:
            asked = inputs.asked_for_mean(denoiser, settings)
            if there is not None and inputs.apart(there, **asked) is None:
                return None
            sigma, features = sigmas[0].item(), bool(mean.reading)
            place = execution.run_key({"shard": key, "start": start, "stop": stop}, {})
            saved = comfyui.saved_run(place, denoiser, [sigma], shape, answers=asked["answers"]) if resume else None
            state = comfyui.resumed("MeanShard", distributed.MeanState.unpacked, saved) or distributed.MeanState()
            if features:
                values = functools.partial(alignment.first_features, sigma=sigma,
                                           start=alignment.Noise(total, shape, seed))
            else:
                values = functools.partial(mean_shift.first_predictions, sigma=sigma, count=total, shape=shape,
                                           seed=seed)
            work = distributed.map_moments(denoiser, values, start, stop, trees=state.trees,
                                           batch=execution.choose_batch(execution.batch_of(batch_size), shape),
                                           kinds={} if features else {"predictions": PairedMoments})
            watchers = [execution.Clock(), *checkpoints(saved), PassMonitor(reporter, "averaging", 1)]
            return Shard(settings, total, execution.drive(work, state, watchers), **asked)

        shard = comfyui.with_denoiser(mean.model, positive, mean.negative, mean.guidance_scale, sigmas, shape, seed,
                                      measure, mean.reading.get("layer"), mean.reading.get("pooling", "none"),
                                      mean.reading.get("branch", "conditional"), gradients=bool(mean.reading),
                                      at_once=min(batch_size, stop - start))
        if shard is None:
            return io.NodeOutput(name, ui=ui.PreviewText(f"{name} is there already"))
        found_shard(path, name, key, start, stop)  # once more: another server may have written there meanwhile
        with comfyui.explaining_what_cannot_be_written(filename_prefix):
            save_shard(shard, path)
        return io.NodeOutput(name, ui=ui.PreviewText(f"Saved {name}"))


def averages() -> list[io.DynamicCombo.Option]:
    """The nodes that go on from a mean, each with what its mean depends on beside the inputs of all."""
    share = io.Float.Input("guidance_share", default=mean_shift.GUIDANCE_SHARE, min=0.0, max=1.0, step=0.05,
                           round=False, tooltip="As in MentalAverage.")
    branch = io.Combo.Input("branch", options=list(comfyui.BRANCHES), default="conditional",
                            tooltip="As in AlignTrajectories.")
    return [io.DynamicCombo.Option(MENTAL_AVERAGE, [share]), io.DynamicCombo.Option(ALIGN_TRAJECTORIES, [branch])]


@dataclass(frozen=True)
class FirstMean:
    """What the rows of a mean are, as the node that goes on from it would take them: `reading` says where features are
    read, and is empty for predictions."""

    values: str
    model: Any
    negative: list
    guidance_scale: float
    reading: dict[str, str]


def mean_of(average: dict, hspace: Any, positive: list, negative: list | None, cfg: float) -> FirstMean:
    """The mean that the inputs describe. Raises ValueError where the node that goes on from it would."""
    if average["average"] == ALIGN_TRAJECTORIES:
        if negative is None:
            raise ValueError("negative is not connected: AlignTrajectories has one, and the mean depends on it.")
        hspace = comfyui.semantic_space(hspace)
        comfyui.check_conditioning(positive, "positive")
        comfyui.check_conditioning(negative, "negative")
        return FirstMean(inputs.FEATURES_OF_MEAN, hspace.model, negative, cfg,
                         {"layer": hspace.layer, "pooling": hspace.pooling, "branch": average["branch"]})
    if isinstance(hspace, comfyui.HSpace):
        raise ValueError("model comes from HSpaceHook, but MentalAverage reads no features: connect the MODEL itself, "
                         f"or choose {ALIGN_TRAJECTORIES}.")
    comfyui.check_one_prompt(positive, "positive")
    if negative is None:
        negative = comfyui.without_prompt(hspace, positive)
    else:
        comfyui.check_one_prompt(negative, "negative")
    guidance_scale = mean_shift.averaged_guidance(cfg, average["guidance_share"])
    return FirstMean(inputs.PREDICTIONS_OF_MEAN, hspace, negative, guidance_scale, {})


def check_rows(start: int, count: int, total: int) -> int:
    """The row that a shard ends before. Raises ValueError, in terms of the inputs, for rows that make no shard."""
    if total < 1 or count < 1:
        raise ValueError(f"total is {total} and count {count}: a mean and each of its shards have 1 row or more.")
    if start % BLOCK or (count % BLOCK and start + count < total):
        raise ValueError(f"start is {start} and count {count}: rows are summed in blocks of {BLOCK}, so that both are "
                         f"multiples of {BLOCK}, except for count in the last shard.")
    if start >= total:
        raise ValueError(f"start is {start}, but total only {total}: the last shard begins before {total}.")
    return min(start + count, total)


def rows_and_ending(start: int, stop: int) -> str:
    """What the name of a shard's file ends in."""
    return f"_{start:07}_{stop:07}{ENDING}"


def found_shard(path: Path, name: str, key: str, start: int, stop: int) -> Shard | None:
    """The shard in a file, where it is the whole one of these settings and rows.

    Raises ValueError where it is that of another mean, which may have taken a night and is not to be replaced.
    """
    if not path.is_file():
        return None
    try:
        found = load_shard(path)
    except ValueError:
        return None
    if found.key != key:
        raise ValueError(f"{name} is there already, with rows of another mean, by other settings, prompts or another "
                         "model: choose another filename_prefix, or move that file away.")
    return found if (found.start, found.stop) == (start, stop) else None
