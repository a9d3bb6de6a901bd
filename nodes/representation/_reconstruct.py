"""ReconstructFromRepresentation: pictures that a network represents as it does others."""
from __future__ import annotations

import torch
from comfy_api.latest import io

from ...dma import execution, models, representation
from ...dma.representation import ReconstructionMonitor, ReconstructionSettings, ReconstructionState
from ...dma.solvers import AdamToShare
from .. import comfyui, inputs
from ..comfyui import ProgressReporter, checkpoints
from ..inputs import REPORT, REPRESENTATION, checked

STANDARD = ReconstructionSettings()
ADAM = AdamToShare(learning_rate=2e-2, iterations=100, share=0.01)


class ReconstructFromRepresentation(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ReconstructFromRepresentation", display_name="Reconstruct From Representation",
            category=inputs.category("representation"),
            description="Draws pictures that the model represents as it does a given one, or as the mean of several: "
                        "they share content; how much of the layout they share depends on model and layer.",
            search_aliases=["stochastic reconstruction", "centroid", "representation", "variations", "channel means"],
            inputs=[
                io.Model.Input("model", tooltip="The model that the representation was read with. It is not changed."),
                io.Conditioning.Input("positive",
                                      tooltip="The prompt that the representation was read under. Guidance is 1."),
                REPRESENTATION.Input("representation",
                                     tooltip="From ChannelMeans, read at 10 or more levels from pure noise to nearly "
                                             "clean: these are the steps of the reconstruction. Of several pictures "
                                             "the mean is drawn."),
                io.Int.Input("count", default=STANDARD.count, min=1, max=4096,
                             tooltip="How many pictures are drawn, each from noise of its own."),
                io.Int.Input("iterations", default=ADAM.iterations, min=0, max=10000,
                             tooltip="Most gradient steps of a picture at each level. 100 in the paper; 0 does not "
                                     "match at all, to compare with."),
                io.Float.Input("learning_rate", default=ADAM.learning_rate, min=1e-6, max=1.0, step=0.001, round=False,
                               tooltip="Adam's learning rate, in units in which a noisy latent has variance 1."),
                inputs.seed("Seed of the noise: another one, another picture."),
                io.Float.Input("share", default=ADAM.share, min=0.0, max=1.0, step=0.005, round=False, optional=True,
                               advanced=True,
                               tooltip="A picture is matched at a level when the squared distance is at most this "
                                       "share of the first. 0.01 in the paper. Smaller ones keep more of the source."),
                io.Int.Input("channels", default=0, min=0, max=65536, optional=True, advanced=True,
                             tooltip="How many channels count, those that are strongest in the target at each level. "
                                     "0: all."),
                io.String.Input("weights", default="", optional=True, advanced=True,
                                tooltip="One number for each picture of the representation, apart by spaces or commas; "
                                        "1, 0, 0 draws the first alone. Empty: all count alike."),
                inputs.batch_size(),
                inputs.resume(),
            ],
            outputs=[
                io.Latent.Output("latent", display_name="latent", tooltip="The pictures, for VAE Decode."),
                io.String.Output("table", display_name="table",
                                 tooltip="Distance before and after matching, iterations and spread of each level as a "
                                         "Markdown table, for Preview as Text."),
                REPORT.Output("report", display_name="report", tooltip="All numbers, for PlotReport and SaveReport."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, positive, representation, count, iterations, learning_rate, seed, share=ADAM.share,
                channels=0, weights="", batch_size=0, resume=True) -> io.NodeOutput:
        settings = ReconstructionSettings(count, seed, channels, AdamToShare(
            learning_rate=learning_rate, iterations=iterations, share=share))
        found = reconstructed(model, positive, representation, settings, weights, batch_size, resume)
        return io.NodeOutput(comfyui.latents_out_of_model(model, found.latents), found.report.table(), found.report)


def reconstructed(model, positive, found: representation.Representation, settings: ReconstructionSettings, weights: str,
                  batch_size: int, resume: bool) -> representation.Reconstruction:
    """The reconstruction on a MODEL. Raises ValueError, in terms of the inputs, before work starts."""
    comfyui.check_model(model)
    comfyui.check_conditioning(positive, "positive")
    given = inputs.numbers(weights, "weights", "1, 0.5, 0", float) if weights.strip() else None
    if given is not None and len(given) != len(found):
        raise ValueError(f"weights has {len(given)} numbers, but representation holds {len(found)} pictures: give one "
                         "number for each, or none.")
    target = representation.centroid(found, given)
    settings.check(target)
    layer = comfyui.resolve_layer(model, found.layer)
    channels = model.model.latent_format.latent_channels
    if found.shape[0] != channels:
        raise ValueError(f"representation was read of latents with {found.shape[0]} channels, but the model works on "
                         f"{channels}: connect the model that it was read with.")
    batch, levels = execution.batch_of(batch_size), list(found.sigmas)
    key = comfyui.run_key(model, representation.RECONSTRUCTION_ALGORITHM,
                          {**settings.written(target), "shape": list(found.shape)}, {"positive": positive},
                          {"target": target.means})
    reporter = ProgressReporter(model, "ReconstructFromRepresentation")

    def draw(denoiser) -> representation.Reconstruction:
        if settings.solver.most_passes[1]:
            with comfyui.advising_on_gradients(comfyui.OTHER_LAYER):
                models.check_gradient(denoiser, found.shape, levels[0])
        saved = comfyui.saved_run(key, denoiser, levels, found.shape, levels) if resume else None
        return representation.reconstruct(
            denoiser, found, settings, weights=given, batch=batch, tolerance=comfyui.tolerance_of(denoiser),
            watchers=[*checkpoints(saved), ReconstructionMonitor(reporter, settings, target)],
            state=comfyui.resumed("ReconstructFromRepresentation", ReconstructionState.unpacked, saved))

    return comfyui.with_denoiser(model, positive, positive, 1.0, torch.tensor([*levels, 0.0]), found.shape,
                                 settings.seed, draw, layer, at_once=min(batch_size, settings.count))
