"""SemanticLayerProbe: the layer whose features stand for meaning, chosen by measurement."""
from __future__ import annotations

import dataclasses
import fnmatch
import time
from collections.abc import Callable
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...dma import execution, hspace, models
from ...dma.diffusion import starting_noise, steps_at
from ...dma.execution import BatchSize
from ...dma.figures import plot_layers
from ...dma.hspace import (
    LAYER_FORMAT,
    LAYER_VERSION,
    LayerReport,
    ProbeSettings,
    PromptReadings,
    layer_report,
    read_prompt,
)
from ...dma.interpolation import numbers, words
from .. import comfyui, inputs
from ..comfyui import fingerprint, progress_bar
from ..inputs import HSPACE, REPORT

MOST_PROMPTS = 50


class SemanticLayerProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        prompts = io.Autogrow.TemplatePrefix(io.Conditioning.Input("prompts",
                                                                   tooltip="One prompt, from CLIP Text Encode."),
                                             prefix="prompts", min=hspace.FEWEST_PROMPTS, max=MOST_PROMPTS)
        return io.Schema(
            node_id="SemanticLayerProbe", display_name="Semantic Layer Probe", category="dma",
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
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True,
                             tooltip="Seed of all noise."),
                io.Combo.Input("pooling", options=["none", "mean"], default="none",
                               tooltip="none: whole feature maps are compared, layout included (the paper). mean: "
                                       "their averages over space, content without layout. The chosen layer is read in "
                                       "the same way afterwards."),
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
    def execute(cls, model, prompts, negative, latent_image, samples, levels, steps, cfg, scheduler, seed, pooling,
                layers="", matched=1, iterations=6, batch_size=0, cached=True) -> io.NodeOutput:
        comfyui.check_model(model)
        connected = [(name, prompt) for name, prompt in prompts.items() if prompt is not None]
        if len(connected) < hspace.FEWEST_PROMPTS:
            raise ValueError(f"{len(connected)} prompts are connected, but a layer is judged by how well it tells "
                             f"prompts apart: connect at least {hspace.FEWEST_PROMPTS}, better four to eight.")
        for name, conditioning in [*connected, ("negative", negative)]:
            comfyui.check_conditioning(conditioning, name)
        if batch_size < 0:
            raise ValueError(f"batch_size is {batch_size}: use 0 for automatic, or a positive number.")
        shape = comfyui.latent_shape(model, latent_image)
        sigmas = comfyui.sigmas_of(model, scheduler, steps)
        schedule = len(sigmas) - 1
        settings = ProbeSettings(samples, steps_of(levels, schedule), matched, iterations, seed)
        settings.check(schedule)
        probe = _Probe(model, [prompt for _, prompt in connected], negative, cfg, sigmas, shape,
                       chosen_layers(comfyui.layer_names(model), layers), pooling, settings, batch_size)
        report = probe.run(cached, progress_bar())
        return io.NodeOutput(comfyui.HSpace(model, report.chosen, pooling), plot_layers(report), report.table(),
                             report, report.chosen)


def steps_of(levels: str, schedule: int) -> tuple[int, ...]:
    """The sampling steps that the widget of noise levels names. Raises ValueError for shares beyond 0 ... 1."""
    shares = numbers(levels, "levels", "0, 0.2")
    try:
        return steps_at(shares, schedule)
    except ValueError as error:
        raise ValueError(f"The levels {levels!r} are not shares of sampling: write numbers from 0 to below 1, for "
                         "example 0, 0.2.") from error


def chosen_layers(names: list[str], text: str) -> list[str]:
    """The names that fit one of the words in a text, in their own order; all of them for an empty text.

    A word fits itself, what begins with it and a dot, and as a pattern with * and ?. Raises ValueError for words that
    fit none.
    """
    kept = set(names if not text.strip() else ())
    for word in words(text):
        found = [name for name in names if fnmatch.fnmatchcase(name, word) or name.startswith(f"{word}.")]
        if not found:
            raise ValueError(f"No layer of this model fits {word!r}. Its layers are: {', '.join(names)}.")
        kept.update(found)
    return [name for name in names if name in kept]


@dataclasses.dataclass
class _Probe:
    """One measurement: the model and all that its result depends on."""

    model: Any
    prompts: list
    negative: list
    cfg: float
    sigmas: Tensor
    shape: tuple[int, ...]
    layers: list[str]
    pooling: str
    settings: ProbeSettings
    batch_size: int

    def run(self, cached: bool, progress: Callable[[float], None]) -> LayerReport:
        """The report, from disk if it is there; what is measured is kept after every prompt."""
        saved, tensors, meta = None, {}, {"prompts": 0, "seconds": 0.0}
        if cached:
            saved = self.saved_state()
            tensors, meta = saved.load() or (tensors, meta)
        if "report" not in meta:
            for prompt in range(meta["prompts"], len(self.prompts)):
                started = time.monotonic()
                readings, error = self.read(prompt, progress)
                for name, value in _packed(readings).items():
                    # (prompts, ...)
                    tensors[name] = torch.cat([tensors[name], value[None]]) if name in tensors else value[None]
                meta = {"prompts": prompt + 1, "seconds": meta["seconds"] + time.monotonic() - started,
                        "gradient_error": meta.get("gradient_error") if error is None else error}
                if saved:
                    saved.save(tensors, meta)
            meta = {"report": self.report(tensors, meta["seconds"], meta.get("gradient_error")).to_json()}
        if saved:
            saved.save({}, meta)  # also when it was found, so that its age is that of its last use
        return LayerReport.from_json(meta["report"])

    def saved_state(self) -> execution.RunState:
        tensors = {f"{number} {name}": value for number, prompt in enumerate(self.prompts)
                   for name, value in comfyui.conditioning_tensors(prompt, self.negative).items()}
        key = execution.run_key({"report": [LAYER_FORMAT, LAYER_VERSION], **self.choices()}, tensors)
        return comfyui.run_state(key, self.ask(0, lambda denoiser: fingerprint(denoiser, self.sigmas, self.shape)))

    def choices(self) -> dict:
        """Everything JSON can hold that the measurement depends on."""
        return {**dataclasses.asdict(self.settings), "prompts": len(self.prompts), "guidance_scale": self.cfg,
                "pooling": self.pooling, "shape": list(self.shape), "layers": self.layers,
                "schedule": self.sigmas.tolist()}

    def ask(self, prompt: int, function: Callable) -> Any:
        """What `function` returns for the Denoiser of a prompt; features are those under the prompt."""
        return comfyui.with_denoiser(self.model, self.prompts[prompt], self.negative, self.cfg, self.sigmas,
                                         self.shape, self.settings.seed, function, self.layers[-1], self.pooling)

    def read(self, prompt: int, progress: Callable[[float], None]) -> tuple[PromptReadings, float | None]:
        """What is read under one prompt, and the error of the gradient where it is looked at, once for all prompts."""
        settings, work = self.settings, self.settings.work(len(self.layers))
        done = prompt * work

        def heard(passes: int) -> None:
            nonlocal done
            done += passes
            progress(done / (work * len(self.prompts)))

        def measure(denoiser) -> tuple[PromptReadings, float | None]:
            error = None
            if settings.matched and prompt == 0:
                error = models.check_gradient(denoiser, self.shape, self.sigmas[0].item())
            # Noise of its own for every prompt: shared noise would be taken for what the prompts have in common.
            noise = starting_noise(len(self.prompts) * settings.samples, self.shape, settings.seed)
            noise = noise.unflatten(0, (len(self.prompts), settings.samples))[prompt]  # (N, C, H, W)
            batch = BatchSize(self.batch_size) if self.batch_size else BatchSize.automatic(noise[0].numel())
            return read_prompt(denoiser, self.sigmas, noise, self.layers, settings, hspace.Sketch(),
                               settings.matched_latents(prompt), batch, heard), error

        return self.ask(prompt, measure)

    def report(self, tensors: dict[str, Tensor], seconds: float, gradient_error: float | None) -> LayerReport:
        settings = self.settings
        grams = torch.stack([torch.stack([hspace.gram(tensors[_row_name(step, layer)]) for layer in self.layers])
                             for step in settings.steps])  # (S, L, P, N, P, N)
        matching = None
        if settings.matched:
            before, after = (tensors[name].movedim(0, 2).double() for name in ("before", "after"))  # (S, L, P, M)
            index = torch.tensor([settings.matched_latents(prompt) for prompt in range(len(self.prompts))])  # (P, M)
            matching = hspace.LayerMatching(before, after, index)
        sigmas = [self.sigmas[step].item() for step in settings.steps]
        found = {"sigmas": sigmas} if gradient_error is None else {"sigmas": sigmas, "gradient_error": gradient_error}
        return layer_report({**self.choices(), **found}, self.layers, grams, matching, seconds)


def _row_name(step: int, layer: str) -> str:
    return f"rows {step} {layer}"


def _packed(readings: PromptReadings) -> dict[str, Tensor]:
    rows = {_row_name(step, layer): value for (step, layer), value in readings.rows.items()}
    return {**rows, "before": readings.before, "after": readings.after}
