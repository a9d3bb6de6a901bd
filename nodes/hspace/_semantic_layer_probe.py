"""SemanticLayerProbe: the layer whose features stand for meaning, chosen by measurement."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from comfy_api.latest import io

from ...dma import execution, hspace, models
from ...dma.diffusion import steps_at
from ...dma.execution import Clock
from ...dma.figures import plot_layers
from ...dma.hspace import (
    LayerReport,
    Probe,
    ProbeMonitor,
    ProbeSettings,
    ProbeState,
    probe_report,
    read_prompt,
)
from .. import comfyui, inputs
from ..comfyui import checkpoints, progress_bar
from ..inputs import HSPACE, REPORT, checked, chosen_layers, numbers

MOST_PROMPTS = 50


class SemanticLayerProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        prompts = io.Autogrow.TemplatePrefix(io.Conditioning.Input("prompts",
                                                                   tooltip="One prompt, from CLIP Text Encode."),
                                             prefix="prompts", min=hspace.FEWEST_PROMPTS, max=MOST_PROMPTS)
        return io.Schema(
            node_id="SemanticLayerProbe", display_name="Semantic Layer Probe", category=inputs.category(),
            description="Measures every layer of a model and chooses the one whose features stand for meaning, in "
                        "place of H-Space Hook.",
            search_aliases=["semantic space", "auto layer", "h-space", "which layer", "layer choice", "mental average"],
            inputs=[
                io.Model.Input("model", tooltip="Any model that H-Space Hook takes. It is not changed."),
                io.Autogrow.Input("prompts", template=prompts,
                                  tooltip="Prompts that the layer has to tell apart, at least two, better four to "
                                          "eight: concepts of the kind that you will average. A new input appears as "
                                          "you connect."),
                inputs.negative(),
                inputs.latent_size(),
                io.Int.Input("samples", default=8, min=hspace.FEWEST_LATENTS, max=1024,
                             tooltip="Latents per prompt. More of them make the error of the scores smaller, with its "
                                     "square root."),
                io.String.Input("levels", default="0, 0.2",
                                tooltip="Noise levels at which layers are read, as shares of sampling: 0 is pure noise "
                                        "at the start. Take them from the part of sampling that you will align."),
                io.Int.Input("steps", default=20, min=1, max=1000,
                             tooltip="Sampling steps of the schedule. Only those up to the last noise level are made."),
                io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1,
                               tooltip="Guidance scale of these steps."),
                inputs.scheduler("Noise levels of the steps."),
                inputs.seed("Seed of all noise."),
                inputs.pooling("none: whole feature maps are compared, layout included (the paper). mean: their "
                               "averages over space, content without layout. 2x2 to 16x16: averages over so many "
                               "cells. The chosen layer is read in the same way afterwards."),
                io.String.Input("layers", default="", optional=True, advanced=True,
                                tooltip="Only these layers: names or beginnings of names, such as middle_block, "
                                        "output_blocks or joint_blocks.1*. Empty: all."),
                io.Int.Input("matched", default=1, min=0, max=1024, optional=True, advanced=True,
                             tooltip="Latents per prompt that are matched to the mean at every layer. This needs "
                                     "gradients and most of the time. 0: layers are scored by what they tell apart "
                                     "alone."),
                io.Int.Input("iterations", default=6, min=1, max=1000, optional=True, advanced=True,
                             tooltip="Iterations of L-BFGS in such a match."),
                inputs.batch_size(),
                io.Boolean.Input("cached", default=True, optional=True, advanced=True,
                                 tooltip="Keep what was measured on disk, per model and settings: queueing the same "
                                         "graph again takes seconds, also after a restart or an interrupt."),
            ],
            outputs=[
                HSPACE.Output("hspace", display_name="hspace",
                              tooltip="The model with the chosen layer, for AlignTrajectories and CaptureHSpace."),
                io.Image.Output("curve", display_name="curve",
                                tooltip="The measures of every layer over the depth of the network; the choice is "
                                        "marked."),
                io.String.Output("table", display_name="table",
                                 tooltip="The same as a Markdown table, for Preview as Text."),
                REPORT.Output("report", display_name="report", tooltip="All numbers, for PlotReport and SaveReport."),
                io.String.Output("layer", display_name="layer",
                                 tooltip="The name of the chosen layer, as HSpaceHook takes it."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, prompts, negative, latent_image, samples, levels, steps, cfg, scheduler, seed, pooling,
                layers="", matched=1, iterations=6, batch_size=0, cached=True) -> io.NodeOutput:
        comfyui.check_model(model)
        connected = [(name, prompt) for name, prompt in prompts.items() if prompt is not None]
        if len(connected) < hspace.FEWEST_PROMPTS:
            raise ValueError(f"{len(connected)} prompts are connected, but a layer is judged by how well it tells "
                             f"prompts apart: connect at least {hspace.FEWEST_PROMPTS}, better four to eight.")
        for name, conditioning in [*connected, ("negative", negative)]:
            comfyui.check_conditioning(conditioning, name)
        batch = execution.batch_of(batch_size)
        shape = comfyui.drawn_shape(model, latent_image, "SemanticLayerProbe")
        sigmas = comfyui.sigmas_of(model, scheduler, steps)
        schedule = len(sigmas) - 1
        settings = ProbeSettings(samples, steps_of(levels, schedule), matched, iterations, seed)
        settings.check(schedule)
        layers = chosen_layers(comfyui.layer_names(model), layers)
        probe = Probe(tuple(layers), tuple(sigmas.tolist()), shape, len(connected), settings)
        choices = {**asdict(settings), "prompts": len(connected), "guidance_scale": cfg, "pooling": pooling,
                   "shape": list(shape), "layers": layers, "schedule": sigmas.tolist()}

        def ask(prompt: int, function: Callable) -> Any:
            """What `function` returns for the Denoiser of a prompt; features are those under the prompt."""
            return comfyui.with_denoiser(model, connected[prompt][1], negative, cfg, sigmas, shape, seed, function,
                                         layers[-1], pooling, gradients=matched > 0, at_once=min(batch_size, samples))

        saved = None
        if cached:
            key = comfyui.run_key(
                model, hspace.ALGORITHM, {"report": [LayerReport.FORMAT, LayerReport.VERSION], **choices},
                {"negative": negative, **{str(number): prompt for number, (_, prompt) in enumerate(connected)}})
            read_at = [sigmas[step].item() for step in settings.steps]
            levels_used = sigmas[: max(settings.steps) + 1].tolist()
            saved = ask(0, lambda denoiser: comfyui.saved_run(key, denoiser, levels_used, shape, read_at))
        state = comfyui.resumed("SemanticLayerProbe", ProbeState.unpacked, saved) or ProbeState()
        watchers = [Clock(), *checkpoints(saved), ProbeMonitor(progress_bar(), probe)]

        def read(denoiser: Any) -> None:
            if settings.matched and state.prompts == 0:
                with comfyui.advising_on_gradients():
                    state.gradient_error = models.check_gradient(denoiser, shape, sigmas[0].item())
            execution.drive(read_prompt(denoiser, probe, state, batch=batch), state, watchers)

        if state.report is None:
            for prompt in range(state.prompts, probe.prompts):
                ask(prompt, read)
            state.report = probe_report(probe, state, choices).to_json()
            if saved:
                saved.save(*state.packed())
        report = LayerReport.from_json(state.report)
        return io.NodeOutput(comfyui.HSpace(model, report.chosen, pooling), plot_layers(report), report.table(), report,
                             report.chosen)


def steps_of(levels: str, schedule: int) -> tuple[int, ...]:
    """The sampling steps that the widget of noise levels names. Raises ValueError for shares beyond 0 ... 1."""
    shares = numbers(levels, "levels", "0, 0.2")
    try:
        return steps_at(shares, schedule)
    except ValueError as error:
        raise ValueError(f"The levels {levels!r} are not shares of sampling: write numbers from 0 to below 1, for "
                         "example 0, 0.2.") from error
